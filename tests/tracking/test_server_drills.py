"""A real MLflow server that is killed, comes back, or takes long: the search does not notice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow_runs import runs_of
from typer.testing import CliRunner

from mer_search.cli import app
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results
from mer_search.tracking import apart, background
from mer_search.tracking.background import InBackground
from mer_search.tracking.mirror import Mirror, mirror
from mer_search.tracking.place import uri_of

pytestmark = pytest.mark.slow
Search = Callable[..., Ledger]


class Server:
    """MLflow on loopback, over one database whenever it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1",
                   "--port", self.port, "--workers", "1",
                   "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}",
                   "--artifacts-destination", str(self.folder / "artifacts")]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            # Without seven processes for jobs that nobody asks for here.
            alone = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=alone,
                                            start_new_session=True, cwd=self.folder)  # fmt: skip
        until = time.monotonic() + 120
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if requests.get(f"{self.uri}/health", timeout=5).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.1)
        raise TimeoutError((self.folder / "log").read_text())

    def kill(self) -> None:
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    found = Server(folder)
    found.start()
    yield found
    found.kill()


def drive(ledger: Ledger, tracking: InBackground, numbers: range) -> None:
    """What a driver does: a record before each trial, blocks, a record after it."""
    blocks, _ = ledger.blocks(3)
    for number in numbers:
        record = replace(ledger.trial(3), number=number, state="RUNNING", values=())
        ledger.write_trial(record)
        tracking.changed(number)
        for index, block in blocks.items():
            ledger.write_block(number, index, block)
            tracking.changed(number)
        ledger.write_trial(record.ended("COMPLETE", values=(0.1,) * len(blocks), seconds=1.0))
        tracking.changed(number)


def lose_after_two_trials(ledger: Ledger, tracking: InBackground, server: Server) -> None:
    """Trials 6 and 7 are shown, then the server is killed."""
    drive(ledger, tracking, range(6, 8))
    while "7" not in runs_of(server.uri):
        time.sleep(0.1)
    server.kill()


def seen(run: Run) -> tuple[object, ...]:
    return run.info.status, run.info.end_time, run.data.metrics, run.data.params, run.data.tags


def test_a_server_that_is_killed_during_a_search_is_completed_by_track(
    invented_search: Search, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "PATIENCE", {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    ledger = invented_search()
    assert mirror(ledger, server.uri, running=True).created == 7, "all runs, on an empty server"
    said: list[str] = []
    with InBackground(ledger, server.uri, says=said.append) as tracking:
        lose_after_two_trials(ledger, tracking, server)
        drive(ledger, tracking, range(8, 12))
    ledger.write_trial(ledger.trial(5).ended("FAILED", values=(0.1,), reason="no memory"))
    assert all(result.complete for result in read_results(ledger)[6:])
    assert said[-1].startswith("MLflow is behind")
    assert said[-1].endswith("`mer-search track invented` repairs it")

    server.start()
    left = runs_of(server.uri)
    assert (left[""].info.status, left["5"].info.status) == ("RUNNING", "RUNNING")
    assert "11" not in left
    command = ["track", "invented", "--store", ledger.store, "--tracking", server.uri]
    told = CliRunner().invoke(app, [*command, "--pictures", "2"])
    assert told.exit_code == 0, told.output
    assert "4 runs created, " in told.stdout
    runs = runs_of(server.uri)
    assert set(runs) == {"", *map(str, range(12))}
    statuses = {number: run.info.status for number, run in runs.items()}
    assert {statuses.pop(each) for each in ("", "0", "1", "3")} == {"FINISHED"}
    assert (statuses.pop("2"), statuses.pop("4"), statuses.pop("5")) == ("KILLED", *["FAILED"] * 2)
    assert set(statuses.values()) == {"FINISHED"}
    client = MlflowClient(server.uri)
    files = {file.path for file in client.list_artifacts(runs[""].info.run_id)}
    assert files == {"best", "report.html", "search.yaml"}
    drawn = client.list_artifacts(runs["2"].info.run_id, "pictures")
    assert [file.path for file in drawn] == ["pictures/confusion.png", "pictures/curve.png"]

    again = CliRunner().invoke(app, command)
    assert "0 runs created, 0 brought up to date" in again.stdout
    after = runs_of(server.uri)
    assert {key: seen(run) for key, run in after.items()} == {
        key: seen(run) for key, run in runs.items()
    }


def test_a_server_that_is_away_for_a_while_is_brought_up_to_date_by_the_search_itself(
    invented_search: Search, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "PATIENCE", {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"})
    monkeypatch.setattr(background, "PAUSE", 0.2)
    ledger, said = invented_search(), []
    with InBackground(ledger, server.uri, says=said.append) as tracking:
        lose_after_two_trials(ledger, tracking, server)
        drive(ledger, tracking, range(8, 10))
        while not said:
            time.sleep(0.1)
        drive(ledger, tracking, range(10, 12))  # it is known to be away: nothing waits for it
        server.start()
        while "MLflow is back" not in said:
            time.sleep(0.1)
        drive(ledger, tracking, range(12, 13))
    assert [sentence.partition(" ")[2][:9] for sentence in said] == ["at http:/", "is back"]
    runs = runs_of(server.uri)
    assert set(runs) == {"", *map(str, range(13))}
    assert {runs[str(number)].info.status for number in range(6, 13)} == {"FINISHED"}
    assert mirror(ledger, server.uri, running=False).created == 0


class Late(BaseHTTPRequestHandler):
    """Takes every question and answers none until the test is over."""

    asked: list[str]
    over: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.over.wait(60)
        self.send_error(503)

    do_POST = do_GET

    def log_message(self, *arguments: object) -> None:
        """Nothing: it would be printed between the tests."""


def test_a_server_that_answers_late_keeps_no_search_waiting(
    invented_search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "SLOW", 0.2)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(Late, "asked", [], raising=False)
    monkeypatch.setattr(Late, "over", threading.Event(), raising=False)
    slow = ThreadingHTTPServer(("127.0.0.1", 0), Late)
    threading.Thread(target=slow.serve_forever, daemon=True).start()
    ledger, said = invented_search(), []
    uri = f"http://127.0.0.1:{slow.server_port}"
    with InBackground(ledger, uri, says=said.append, wait=60.0) as tracking:
        while not Late.asked:
            time.sleep(0.05)
        drive(ledger, tracking, range(6, 9))
    assert len(Late.asked) == 1, "nothing has been answered"
    assert all(result.complete for result in read_results(ledger)[6:])
    assert said == ["MLflow is behind (it did not answer in time); nothing is lost: "
                    "`mer-search track invented` repairs it"]  # fmt: skip
    Late.over.set()
    tracking._thread.join(60)
    slow.shutdown()
    slow.server_close()
    assert mirror(ledger, uri_of(ledger, None), running=False).created == 10


def test_the_columns_that_a_person_wants_are_there(invented_search: Search) -> None:
    import mlflow

    ledger = invented_search(features={"keyframes": {"count": 6}})
    uri = uri_of(ledger, None)
    Mirror(ledger, uri).sync()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        table = mlflow.search_runs(
            experiment_names=["mer-search"], filter_string="tags.`mer.kind` = 'trial'",
            order_by=["metrics.uf1 DESC"],
        )  # fmt: skip
    finally:
        mlflow.set_tracking_uri(before)
    assert len(table) == 6
    best, results = table.iloc[0], read_results(ledger)
    assert best["tags.mer.trial"] == "3"
    assert best["metrics.uf1"] == pytest.approx(results[3].scores["uf1"])
    assert best["metrics.folds_done"] == 6
    assert (best["tags.mer.state"], best["tags.mer.objective"]) == ("COMPLETE", "uf1")
    assert best["tags.mer.selected_on"].startswith("held-out LOSO predictions")
    assert best["params.model.lstm_size"] == "32", "searched"
    assert best["params.features.keyframes.count"] == "6", "fixed"
    assert best["params.model.name"] == "attention-lstm"
    attending = table["params.model.attention"] == "temporal"
    assert set(table["params.model.attention"][~attending]) == {"none"}
    assert set(table["params.model.attention_size"][attending]) == {"8"}
    assert table["params.model.attention_size"][~attending].isna().all(), "of what is not there"
    assert table["tags.mer.digest"].nunique() == 6
