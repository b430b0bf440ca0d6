"""What every test shares: quiet threads, an invented search, a browser and a server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

# The tests' products are small: on busy cores a second thread makes each of them much slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell lets what it starts in the background ignore Ctrl-C, which is part of what is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
from hypothesis import settings
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

from mer_search import space_file
from mer_search.loso.folds import make_folds
from mer_search.loso.ledger import FoldBlock, Ledger, TrialRecord
from mer_search.loso.result import Protocol, subjects_of

settings.register_profile("patient", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("patient")

INVENTED_SPACE: dict[str, Any] = {
    "name": "invented",
    "data": {"reader": "casme2", "root": "nowhere"},
    "features": {"reference": "onset"},
    "model": {
        "attention": {"choice": ["none", "temporal"]},
        "attention_size": {"choice": [8, 16], "when": {"attention": ["temporal"]}},
        "lstm_size": {"choice": [16, 32]},
    },
    "train": {"epochs": 3, "learning_rate": {"float": [1e-4, 1e-2], "log": True}},
    "search": {"trials": 6, "racing": {"rule": "none"}},
}


def invented_protocol(subjects: int = 6, clips: int = 5) -> Protocol:
    """Clips of `subjects` people, three classes in turn, under LOSO."""
    keys = tuple(f"toy/sub{s:02d}/EP{c:02d}" for s in range(subjects) for c in range(clips))
    label = (np.arange(len(keys)) * 7 // 2) % 3
    folds = make_folds(subjects_of(keys), label)
    return Protocol(keys, label.astype(np.int64), ("happiness", "surprise", "others"), folds)


def invented_block(protocol: Protocol, index: int, number: int, quality: float) -> FoldBlock:
    """Block `index` of trial `number`: right with a chance that grows with `quality`."""
    rng = np.random.default_rng([number, index])
    held = protocol.folds.held_out[slice(*protocol.folds.blocks[index])].any(0)
    clips = np.flatnonzero(held)
    logits = rng.standard_normal((len(clips), len(protocol.classes)))
    logits[np.arange(len(clips)), protocol.label[clips]] += quality
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    weights = rng.dirichlet(np.ones(8), len(clips))
    maps = {"temporal": weights.astype(np.float16)} if number % 2 else {}
    keys = tuple(protocol.keys[clip] for clip in clips)
    finished = 1.7e9 + 100 * number + index
    return FoldBlock(keys, probs.astype(np.float32), 0, 0.5, finished, maps)


@pytest.fixture
def invented_space() -> dict[str, Any]:
    """The search-space file of `invented_search`."""
    return dict(INVENTED_SPACE)


@pytest.fixture
def invented_search(tmp_path: Path) -> Callable[..., Ledger]:
    """Writes a search with trials in every state; the better the higher their number."""

    def make(name: str = "invented", *, states: tuple[Any, ...] = (),
             store: Path | str | None = None,
             **space: Any) -> Ledger:  # fmt: skip
        experiment = space_file.from_dict({**INVENTED_SPACE, "name": name, **space})
        protocol = invented_protocol()
        ledger = Ledger(str(store or tmp_path / "store"), name)
        record = {"data": "0" * 64, "version": "0.1.0", "clips": len(protocol.keys)}
        ledger.create({**experiment.as_file(), "record": record}, protocol.to_json())
        domains = {path: domain.as_file() for path, domain in experiment.domains.items()}
        for number, state in enumerate(
            states or ("COMPLETE", "COMPLETE", "STOPPED", "COMPLETE", "FAILED", "RUNNING")
        ):
            attention = ("none", "temporal")[number % 2]
            params = {"model.attention": attention, "model.lstm_size": 16 * (1 + number % 2),
                      "train.learning_rate": 1e-3 / (1 + number)}  # fmt: skip
            if attention == "temporal":
                params["model.attention_size"] = 8
            done = {"COMPLETE": len(protocol.folds.blocks), "FAILED": 0}.get(state, 1)
            for index in range(done):
                block = invented_block(protocol, index, number, quality=0.5 + number / 2)
                ledger.write_block(number, index, block)
            drawn = {path: domains[path] for path in params if path in domains}
            ledger.write_trial(
                TrialRecord(number, state, params, drawn,
                            values=tuple(0.1 * (i + 1) for i in range(done)),
                            reason="out of memory" if state == "FAILED" else "",
                            started=1.7e9 + 100 * number,
                            seconds=0.0 if state == "RUNNING" else 50.0)
            )  # fmt: skip
        return ledger

    return make


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Callable[..., WebDriver]]:
    """`browser(width, dark=)` starts a headless Chromium; all end with the test."""
    started: list[WebDriver] = []
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")

    def start(width: int = 1280, height: int = 900, *, dark: bool = False) -> WebDriver:
        options = Options()
        options.binary_location = chromium
        for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
                     "disable-background-networking", "disable-component-update", "disable-sync",
                     "hide-scrollbars", f"user-data-dir={tmp_path}/{len(started)}"):  # fmt: skip
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        page = Chrome(options=options, service=Service(driver))
        started.append(page)
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        return page

    yield start
    for page in started:
        page.quit()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """`served(*command)` starts a web server; `PORT` in the command becomes a free one."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        told = tmp_path / f"server{len(started)}.log"
        with told.open("wb") as log:
            started.append(subprocess.Popen(
                [each.replace("PORT", port) for each in command], stdout=log, stderr=log,
                start_new_session=True,
                # MLflow would start seven processes for jobs that nobody asks for here.
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            ))  # fmt: skip
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
                return f"http://127.0.0.1:{port}"
            assert started[-1].poll() is None, told.read_text()
            time.sleep(0.1)
        raise TimeoutError(f"{command[0]} does not listen: {told.read_text()}")

    yield start
    for server in started:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
