"""Real searches on a real Ray: killed, continued, stopped, and told why they fail."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import yaml
from drivers import Driver, blocks_of, kept
from ray_head import Head, descendants

from mer_search.datasets import synthetic
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_protocol, read_results

pytestmark = pytest.mark.ray


class Place:
    """One store, in which drivers and commands run against the Ray of this file."""

    def __init__(self, running: Head, folder: Path) -> None:
        self.running, self.folder, self.store = running, folder, folder / "store"

    def start(self, command: str, *arguments: object, tracking: str = "none") -> Driver:
        line = [command, *arguments, "--store", self.store]
        if command == "launch":
            line += ["--address", self.running.gcs, "--tracking", tracking]
        log = self.folder / f"{time.monotonic_ns()}.log"
        return Driver(*line, log=log, environment=dict(os.environ))

    def run(self, *arguments: object, code: int = 0) -> str:
        driver = self.start(*map(str, arguments))
        told = driver.ended()
        assert driver.code == code, told
        return told


@pytest.fixture
def place(one_node: Head, tmp_path: Path) -> Place:
    return Place(one_node, tmp_path)


def test_a_killed_search_goes_on_and_computes_nothing_twice(place: Place, tiny_space: Path) -> None:
    from mlflow import MlflowClient

    ledger, tracking = Ledger(str(place.store), "tiny"), f"sqlite:///{place.folder / 'mlflow.db'}"
    driver = place.start("launch", tiny_space, tracking=tracking)
    driver.wait_for(ledger, 8)
    driver.kill()
    before = blocks_of(ledger)
    params = [record.params for record in ledger.trials()]
    assert 8 <= len(before) < 30
    assert any(record.state == "RUNNING" for record in ledger.trials())

    again = place.start("launch", tiny_space, tracking=tracking)
    told = again.ended()
    assert again.code == 0, told
    after = blocks_of(ledger)
    assert len(after) == 30
    assert kept(before, ledger)
    results = read_results(ledger)
    assert [result.complete for result in results] == [True] * 5
    assert [result.record.params for result in results][: len(params)] == params

    client = MlflowClient(tracking)
    (experiment,) = [e for e in client.search_experiments() if e.name == "mer-search"]
    runs = client.search_runs([experiment.experiment_id])
    trials = sorted(each.data.tags.get("mer.trial", "") for each in runs)
    assert trials == ["", "0", "1", "2", "3", "4"]
    assert {each.info.status for each in runs} == {"FINISHED"}

    once_more = place.run("launch", tiny_space)
    assert "nothing to run: the search has its 5 trials; raise --trials" in once_more
    assert blocks_of(ledger) == after


def test_ctrl_c_and_stop_end_after_the_running_blocks(place: Place, tiny_space: Path) -> None:
    ledger = Ledger(str(place.store), "tiny")
    launch = ("launch", tiny_space, "--set", "train.epochs=200")
    driver = place.start(*launch)
    driver.wait_for(ledger, 3)
    os.kill(driver.pid, signal.SIGINT)
    told = driver.ended()
    assert driver.code == 130, told
    assert "ending after the running blocks; Ctrl-C again ends at once" in told
    assert "the same command continues, no finished fold is lost" in told
    driver = place.start(*launch)
    driver.wait_for(ledger, len(blocks_of(ledger)) + 2)
    place.run("stop", "tiny")
    told = driver.ended()
    assert driver.code == 130, told
    assert "stopped; the same command continues" in told
    assert len(blocks_of(ledger)) < 30


def test_fresh_seeds_are_stopped_continued_and_more_asked_for(
    place: Place, tiny_space: Path
) -> None:
    launch = ("launch", tiny_space, "--trials", "2", "--set", "train.epochs=100", "--set")
    driver = place.start(*launch, "search.confirm=2")
    driver.wait_to_say("search confirm-")
    place.run("stop", "tiny")
    told = driver.ended()
    assert driver.code == 130, told
    assert "stopped; the same command continues" in told
    told = place.run(*launch, "search.confirm=2")
    assert told.count("with 2 fresh seeds") == 2
    (again,) = (place.store / "tiny").glob("confirm-*")
    ledger = Ledger(str(place.store / "tiny"), again.name)
    before = blocks_of(ledger)
    told = place.run(*launch, "search.confirm=3")
    assert told.count("with 3 fresh seeds") == 2
    assert kept(before, ledger)
    assert [record.state for record in ledger.trials()] == ["COMPLETE"] * 6
    assert "with 3 fresh seeds" in place.run("compare", "tiny")


def test_a_lost_worker_costs_at_most_its_running_block(place: Place, tiny_space: Path) -> None:
    ledger = Ledger(str(place.store), "tiny")
    # Trials must outlive the search for their process.
    driver = place.start("launch", tiny_space, "--trials", "2", "--set", "train.epochs=200")
    driver.wait_for(ledger, 3)
    before = blocks_of(ledger)
    os.kill(worker_below(place.running.pid), signal.SIGKILL)
    told = driver.ended()
    assert driver.code == 0, told
    assert kept(before, ledger)
    assert [result.complete for result in read_results(ledger)] == [True] * 2


def worker_below(head: int) -> int:
    """A process below `head` that runs our trials. Ray names it only once it has started."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for pid in descendants(head):
            if b"LosoTrial" in _command_of(pid):
                return pid
        time.sleep(0.02)
    raise AssertionError("no worker runs a trial within a minute")


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def test_trials_that_cannot_start_end_the_search_with_the_reason(
    place: Place, tiny_space: Path
) -> None:
    told = place.run("launch", tiny_space, "--set", "train.learning_rate=1e30", code=1)
    records = Ledger(str(place.store), "tiny").trials()
    assert "trials failed before the first block and none succeeded" in told
    assert "Traceback" not in told
    assert {record.state for record in records} == {"FAILED"}
    assert all(record.reason for record in records)


def test_a_changed_file_under_the_same_name_is_refused(place: Place, tiny_space: Path) -> None:
    place.run("launch", tiny_space, "--trials", "1")
    changed = ("--set", "train.epochs=7", "--set", "model.lstm_size=8")
    told = place.run("launch", tiny_space, *changed, code=2)
    assert "train.epochs: was 60, now 7" in told
    assert "model.lstm_size" in told
    assert json.loads(place.run("status", "tiny", "--json"))["states"]["COMPLETE"] == 1


def test_a_search_that_leaves_whole_data_sets_out(place: Place, tmp_path: Path) -> None:
    synthetic.write_full(tmp_path / "megc", layout="megc2019")
    space = {
        "name": "lodo",
        "data": {"reader": "megc2019", "root": str(tmp_path / "megc")},
        "features": {"align": {"method": "none"}, "keyframes": {"count": 2},
                     "backbone": {"name": "patches", "grid": 2}},
        "model": {"lstm_size": {"choice": [4, 8]}, "regions": "flatten"},
        "train": {"epochs": 1},
        "evaluation": {"folds": "lodo"},
        "search": {"sampler": "random", "trials": 2},
    }  # fmt: skip
    (tmp_path / "lodo.yaml").write_text(yaml.safe_dump(space))
    assert "442 clips, 3 folds" in place.run("launch", tmp_path / "lodo.yaml")
    protocol = read_protocol(Ledger(str(place.store), "lodo"))
    held_out = [{key.split("/")[0] for key, out in zip(protocol.keys, fold, strict=True) if out}
                for fold in protocol.folds.held_out]  # fmt: skip
    assert sorted(map(sorted, held_out)) == [["casme2"], ["samm"], ["smic"]]
    told = json.loads(place.run("compare", "lodo", "--json"))
    assert [trial["folds_done"] for trial in told["trials"]] == [3, 3]
    counts = {name: each["clips"] for name, each in told["best"]["datasets"].items()}
    assert counts == {"casme2": 145, "samm": 133, "smic": 164}
