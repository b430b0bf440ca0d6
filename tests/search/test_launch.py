"""Real searches on a real Ray: killed, continued, stopped, and told why they fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mer_search.datasets import synthetic
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_protocol, read_results

pytestmark = pytest.mark.ray
COMMAND = [sys.executable, "-m", "mer_search"]


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache and a working directory of this test's own."""
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MER_SEARCH_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def blocks_of(ledger: Ledger) -> dict[Path, tuple[int, bytes]]:
    files = Path(ledger.root).glob("trials/*/block-*.npz")
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def wait_for(ledger: Ledger, blocks: int, driver: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while len(blocks_of(ledger)) < blocks:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < until, "no block within two minutes"
        time.sleep(0.02)


def test_a_killed_search_goes_on_and_computes_nothing_twice(
    tiny_space: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    ledger = Ledger(str(tmp_path / "store"), "tiny")
    launch = [*COMMAND, "launch", str(tiny_space)]
    with subprocess.Popen(
        launch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as driver:
        wait_for(ledger, 8, driver)
        driver.send_signal(signal.SIGKILL)
    before = blocks_of(ledger)
    params = [record.params for record in ledger.trials()]
    assert 8 <= len(before) < 30
    assert any(record.state == "RUNNING" for record in ledger.trials())

    again = run("launch", tiny_space)
    assert again.returncode == 0, again.stdout + again.stderr
    after = blocks_of(ledger)
    assert len(after) == 30
    assert {file: after[file] for file in before} == before
    results = read_results(ledger)
    assert [result.complete for result in results] == [True] * 5
    assert [result.record.params for result in results][: len(params)] == params

    client = MlflowClient(f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "mer-search"]
    runs = client.search_runs([experiment.experiment_id])
    trials = sorted(each.data.tags.get("mer.trial", "") for each in runs)
    assert trials == ["", "0", "1", "2", "3", "4"]
    assert {each.info.status for each in runs} == {"FINISHED"}

    once_more = run("launch", tiny_space)
    assert "nothing to run: the search has its 5 trials; raise --trials" in once_more.stdout
    assert blocks_of(ledger) == after


def test_ctrl_c_and_stop_end_after_the_running_blocks(tiny_space: Path, tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "store"), "tiny")
    launch = [*COMMAND, "launch", str(tiny_space), "--tracking", "none"]
    with subprocess.Popen(launch, stdout=subprocess.PIPE, text=True) as driver:
        wait_for(ledger, 3, driver)
        driver.send_signal(signal.SIGINT)
        told, _ = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert "ending after the running blocks; Ctrl-C again ends at once" in told
    assert "the same command continues, no finished fold is lost" in told
    with subprocess.Popen(launch, stdout=subprocess.PIPE, text=True) as driver:
        wait_for(ledger, len(blocks_of(ledger)) + 2, driver)
        assert run("stop", "tiny").returncode == 0
        told, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0
    assert "stopped; the same command continues" in told
    assert len(blocks_of(ledger)) < 30


def test_a_lost_worker_costs_at_most_its_running_block(tiny_space: Path, tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "store"), "tiny")
    launch = [*COMMAND, "launch", str(tiny_space), "--tracking", "none", "--trials", "2"]
    launch += ["--set", "train.epochs=200"]  # trials must outlive the search for their process
    with subprocess.Popen(launch, stdout=subprocess.PIPE, text=True) as driver:
        wait_for(ledger, 3, driver)
        before = blocks_of(ledger)
        os.kill(worker_below(driver.pid), signal.SIGKILL)
        told, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, told
    after = blocks_of(ledger)
    assert {file: after[file] for file in before} == before
    assert [result.complete for result in read_results(ledger)] == [True] * 2


def worker_below(driver: int) -> int:
    """A process below `driver` that runs our trials. Ray names it only once it has started."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for pid in _family(driver):
            if b"LosoTrial" in _command_of(pid):
                return pid
        time.sleep(0.02)
    raise AssertionError("no worker runs a trial within a minute")


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def _family(driver: int) -> set[int]:
    family = {driver}
    for _ in range(5):
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            if parent in family:
                family.add(int(stat.parent.name))
    return family


def test_trials_that_cannot_start_end_the_search_with_the_reason(
    tiny_space: Path, tmp_path: Path
) -> None:
    failed = run("launch", tiny_space, "--tracking", "none", "--set", "train.learning_rate=1e30")
    ledger = Ledger(str(tmp_path / "store"), "tiny")
    reasons = {record.reason for record in ledger.trials()}
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "trials failed before their first block and none succeeded" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert all(record.state == "FAILED" for record in ledger.trials())
    assert all(reasons)


def test_a_changed_file_under_the_same_name_is_refused(tiny_space: Path) -> None:
    assert run("launch", tiny_space, "--tracking", "none", "--trials", "1").returncode == 0
    other = run("launch", tiny_space, "--set", "train.epochs=7", "--set", "model.lstm_size=8")
    assert other.returncode == 2
    assert "train.epochs: was 60, now 7" in other.stderr
    assert "model.lstm_size" in other.stderr
    told = run("status", "tiny", "--json")
    assert json.loads(told.stdout)["states"]["COMPLETE"] == 1


def test_a_search_that_leaves_whole_data_sets_out(tmp_path: Path) -> None:
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
    done = run("launch", tmp_path / "lodo.yaml", "--tracking", "none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "442 clips, 3 folds" in done.stdout
    protocol = read_protocol(Ledger(str(tmp_path / "store"), "lodo"))
    held_out = [{key.split("/")[0] for key, out in zip(protocol.keys, fold, strict=True) if out}
                for fold in protocol.folds.held_out]  # fmt: skip
    assert sorted(map(sorted, held_out)) == [["casme2"], ["samm"], ["smic"]]
    told = json.loads(run("compare", "lodo", "--json").stdout)
    assert [trial["folds_done"] for trial in told["trials"]] == [3, 3]
    counts = {name: each["clips"] for name, each in told["best"]["datasets"].items()}
    assert counts == {"casme2": 145, "samm": 133, "smic": 164}
