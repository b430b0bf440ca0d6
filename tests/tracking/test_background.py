"""The mirror beside a search: in a process that spares the driver and ends with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow_runs import runs_of

from mer_search.loso.ledger import Ledger
from mer_search.search.mirroring import Mirroring
from mer_search.tracking.background import InBackground
from mer_search.tracking.place import uri_of

pytestmark = pytest.mark.slow  # every process imports MLflow, every database is laid out

Search = Callable[..., Ledger]


def test_mlflow_being_away_never_delays_a_search(
    invented_search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said: list[str] = []
    with InBackground(invented_search(), "http://127.0.0.1:9", says=said.append) as background:
        for number in range(6):
            background.changed(number)
        assert not said  # nobody waited for MLflow to be found away, which takes an import of it
        while not said:
            time.sleep(0.05)
    assert said[0] == (
        "MLflow at http://127.0.0.1:9 does not answer (connection refused); the search goes on"
    )
    assert "`mer-search track invented` repairs it" in said[-1]
    assert not background._thread.is_alive()


def test_a_second_ctrl_c_waits_for_nothing(invented_search: Search) -> None:
    said: list[str] = []
    hanging = threading.Event()
    mirror = Mirroring(invented_search(), None, said.append, report=lambda: str(hanging.wait(60)))
    mirror.nested()  # opens it
    background = mirror.background
    assert background is not None
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        mirror.close()
    assert background._thread.is_alive()
    assert said[0].startswith("MLflow is behind")
    hanging.set()
    background._thread.join(60)


def test_the_background_writes_what_changed(invented_search: Search) -> None:
    ledger = invented_search()
    said: list[str] = []
    with InBackground(ledger, uri_of(ledger, None), says=said.append) as background:
        ledger.write_trial(ledger.trial(5).ended("FAILED", values=(0.1,), reason="no memory"))
        background.changed(5)
    assert said == []
    runs = runs_of(uri_of(ledger, None))
    assert runs["5"].info.status == "FAILED"
    assert runs[""].info.status == "FINISHED"


def test_a_process_that_is_killed_is_started_again(invented_search: Search) -> None:
    ledger, said = invented_search(), []
    uri = uri_of(ledger, None)
    with InBackground(ledger, uri, says=said.append) as background:
        wait_for(lambda: Path(uri.removeprefix("sqlite:///")).exists())
        killed = background._mirror
        assert killed is not None
        os.kill(killed.process.pid, signal.SIGKILL)
        background.changed(5)
    assert background._mirror is not killed
    assert not background.trouble
    assert said[-1:] in ([], ["MLflow is back"])
    assert set(runs_of(uri)) == {"", *"012345"}


DRIVER = """
import sys, time
from mer_search.loso.ledger import Ledger
from mer_search.tracking.background import InBackground

with InBackground(Ledger(sys.argv[1], "invented"), sys.argv[2], says=print) as background:
    while not background._mirror:
        time.sleep(0.01)
    print(background._mirror.process.pid, flush=True)
    while background._asked is None:  # MLflow owes an answer
        time.sleep(0.01)
    print("mlflow" in sys.modules, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_process_ends_with_its_driver_though_mlflow_does_not_answer(
    invented_search: Search, number: int
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        uri = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        line = [sys.executable, "-c", DRIVER, invented_search().store, uri]
        driver = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert driver.stdout
        pid = int(driver.stdout.readline())
        assert driver.stdout.readline() == "False\n", "the driver itself does without MLflow"
        assert Path(f"/proc/{pid}").exists()
        driver.send_signal(number)
        driver.wait()
        driver.stdout.close()
        wait_for(lambda: not Path(f"/proc/{pid}").exists())


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)
