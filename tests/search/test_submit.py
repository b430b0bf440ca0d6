"""A search as a job on a real Ray head with a token: followed, left, found again, continued."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray_head import Head, head

from mer_search import space_file
from mer_search.errors import InputError, MerSearchError
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results
from mer_search.search import submit

COMMAND = [sys.executable, "-m", "mer_search"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    cache = tmp_path_factory.mktemp("cache")
    with head(environment={"MER_SEARCH_CACHE": str(cache)}) as running:
        yield running


def client(running: Head, token: str | None = None) -> dict[str, str]:
    """The environment of somebody elsewhere: the token, and nothing else of the cluster's."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return {**kept, "RAY_AUTH_TOKEN": running.token if token is None else token}


def command(running: Head, space: Path, store: Path, *more: str) -> list[str]:
    return [*COMMAND, "submit", str(space), "--address", running.jobs, "--store", str(store),
            "--tracking", "none", "--trials", "3", *more]  # fmt: skip


@pytest.mark.ray
def test_a_job_is_followed_left_found_again_and_continued(
    cluster: Head, tiny_space: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    ledger = Ledger(str(store), "tiny")
    # Long enough to be running still when Ctrl-C comes.
    tiny_space.write_text(tiny_space.read_text().replace("epochs: 60", "epochs: 200"))
    line = command(cluster, tiny_space, store)
    with subprocess.Popen(
        line, env=client(cluster), stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as first:
        until = time.monotonic() + 120
        while not list(Path(ledger.root).glob("trials/*/block-*.npz")):
            assert first.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        first.send_signal(signal.SIGINT)
        told, _ = first.communicate(timeout=60)
    assert first.returncode == 130
    assert re.search(r"left job \S+ running; the same command follows it again", told)
    again = subprocess.run(line, env=client(cluster), capture_output=True, text=True, timeout=180)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "runs this search already" in again.stdout
    assert again.stdout.count("search tiny (new)") == 1
    assert "next: mer-search compare tiny" in again.stdout
    assert [result.complete for result in read_results(ledger)] == [True] * 3
    more = subprocess.run(
        command(cluster, tiny_space, store, "--trials", "4"),
        env=client(cluster), capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert more.returncode == 0, more.stdout + more.stderr
    assert "search tiny (continued)" in more.stdout
    assert len(read_results(ledger)) == 4


@pytest.mark.ray
def test_what_the_job_says_is_wrong_reaches_the_user_with_its_exit_code(
    cluster: Head, tiny_space: Path, tmp_path: Path
) -> None:
    line = command(cluster, tiny_space, tmp_path / "store", "--set", "data.root=/nowhere/maps.csv")
    done = subprocess.run(line, env=client(cluster), capture_output=True, text=True, timeout=180)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "/nowhere/maps.csv" in done.stdout


@pytest.mark.ray
def test_a_wrong_token_is_refused_in_one_message(
    cluster: Head, tiny_space: Path, tmp_path: Path
) -> None:
    line = command(cluster, tiny_space, tmp_path / "store")
    done = subprocess.run(
        line, env=client(cluster, "f" * 64), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "refuses this token" in done.stderr
    assert "put the cluster's token into RAY_AUTH_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_without_a_job_server_is_told() -> None:
    with pytest.raises(MerSearchError, match=r"no job server answers at http://127\.0\.0\.1:9 "):
        submit.connect("127.0.0.1:9")
    with pytest.raises(InputError, match=r"'ray://a:1' is no job server; write http://HOST:8265"):
        submit.connect("ray://a:1")


def test_a_server_that_is_no_job_server_is_told() -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(MerSearchError, match=r"is no job server that can be used: Version"):
                submit.connect(f"127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()


class Server:
    """A job server that breaks off `breaks` times and begins the log anew each time."""

    def __init__(self, breaks: int, status: str = "SUCCEEDED", code: int | None = 0) -> None:
        self.breaks, self.status, self.code = breaks, status, code

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        yield "one\n"
        if self.breaks:
            self.breaks -= 1
            raise RuntimeError("WebSocket connection closed unexpectedly")
        yield "two\n"

    def get_job_info(self, job: str) -> SimpleNamespace:
        return SimpleNamespace(
            status=self.status, driver_exit_code=self.code, message="stopped by the user"
        )


def follow(server: object, shown: list[str]) -> int:
    return submit.follow(submit.Job(server, "job-1", found=False), shown.append)  # type: ignore[arg-type]


def test_a_log_is_shown_once_however_often_the_connection_breaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submit, "PAUSE", 0.0)
    shown: list[str] = []
    assert follow(Server(breaks=3), shown) == 0
    assert shown == ["one\n", "two\n"]
    assert follow(Server(breaks=0, status="FAILED", code=2), shown) == 2


def test_a_job_that_was_stopped_is_told_with_what_to_do() -> None:
    stopped = Server(breaks=0, status="STOPPED", code=None)
    with pytest.raises(MerSearchError, match="job-1 ended as STOPPED: stopped by the user; submit"):
        follow(stopped, [])


def test_a_job_server_that_stays_away_is_told_and_the_job_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Away(Server):
        async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
            raise ConnectionRefusedError("refused")
            yield ""

    monkeypatch.setattr(submit, "PAUSE", 0.0)
    with pytest.raises(MerSearchError, match=r"stays away .refused.; job job-1 may go on without"):
        follow(Away(breaks=0), [])


def test_places_that_only_this_folder_knows_are_refused_together(tiny_space: Path) -> None:
    experiment = space_file.read(tiny_space, ["data.root=maps.csv"])
    with pytest.raises(InputError, match=r"2 faults") as told:
        submit.check_places(experiment, "./mer-runs", None)
    assert "--store './mer-runs' is relative to this folder" in str(told.value)
    assert "data.root 'maps.csv' is relative to this folder" in str(told.value)
    with pytest.raises(InputError, match="give --tracking http://HOST:PORT or --tracking none"):
        submit.check_places(space_file.read(tiny_space), "s3://lab/runs", None)


def test_what_is_asked_of_a_launch_travels_with_the_job(tiny_space: Path) -> None:
    sent: dict[str, Any] = {}

    def submit_job(**job: Any) -> str:
        sent.update(job)
        return "job-1"

    client: Any = SimpleNamespace(list_jobs=list, submit_job=submit_job)
    job = submit.submit(
        space_file.read(tiny_space), client, store="/runs", tracking="none", warm_start="earlier"
    )
    assert (job.id, job.found) == ("job-1", False)
    line = "python -m mer_search launch tiny.yaml --address auto --store /runs --device cpu"
    assert sent["entrypoint"] == f"{line} --tracking none --warm-start earlier"
    assert sent["metadata"] == {"mer-search": "tiny", "store": "/runs"}


def test_ctrl_c_is_heard_where_the_connection_takes_it_for_a_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submit, "PAUSE", 0.0)
    server, pressed = Server(breaks=0), []
    whole = server.tail_job_logs

    async def tail(job: str) -> AsyncIterator[str]:
        if not pressed:
            pressed.append(os.kill(os.getpid(), signal.SIGINT))
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                raise TimeoutError("read timed out") from None
        async for text in whole(job):
            yield text

    monkeypatch.setattr(server, "tail_job_logs", tail)
    with pytest.raises(KeyboardInterrupt):
        follow(server, [])
