"""What happens to a search: drivers killed, a node lost, a store that fills up, rots and locks.

One cluster of two nodes serves all drills. Trials are small, so that a launch costs little; what
is asked of them are invariants, and equality where one trial runs at a time.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from drivers import Driver, blocks_of, kept, probs_of
from ray_head import Head, head, node, vanish
from tiny_maps import write_maps

from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
KILLS = 10


class Nodes:
    """A head and one more node, of one logical processor each."""

    def __init__(self, running: Head, held: ExitStack) -> None:
        self.running, self.address, self.held = running, running.gcs, held
        self.join()

    def join(self) -> None:
        self.second = self.held.enter_context(node(self.running))

    def lose(self) -> None:
        """The second node's power is cut."""
        vanish(self.second)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Processes of their own: Ray reads its settings once, and other tests came before."""
    cache = {"MER_SEARCH_CACHE": str(tmp_path_factory.mktemp("cache"))}
    before = dict(os.environ)
    with head(cpus=1, environment=cache) as running, ExitStack() as held:
        os.environ.update(running.environment)  # the process that forks drivers finds the token
        try:
            yield Nodes(running, held)
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials of six blocks that take a moment each."""
    folder = tmp_path_factory.mktemp("space")
    content = {
        "name": "drill",
        "data": {"reader": "manifest", "root": str(write_maps(folder / "maps"))},
        "features": {"align": {"method": "none"}, "backbone": {"name": "patches", "grid": 2}},
        "model": {"attention": {"choice": ["none", "temporal"]},
                  "lstm_size": {"choice": [4, 8]}, "attention_size": 4},
        "train": {"epochs": 3, "batch_size": 24,
                  "learning_rate": {"float": [0.001, 0.02], "log": True}},
        "search": {"trials": 12, "racing": {"rule": "none", "blocks": [1, 1, 1, 1, 1, 1]}},
    }  # fmt: skip
    file = folder / "drill.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


class Drill:
    """One search on the cluster."""

    def __init__(self, cluster: Nodes, space: Path, folder: Path, name: str = "drill") -> None:
        self.line = ["launch", space, "--address", cluster.address, "--name", name]
        self.folder, self.ledger = folder, Ledger(str(folder / "store"), name)
        self.environment = dict(os.environ)

    def start(self, *more: str, tracking: str = "none") -> Driver:
        return Driver(
            *self.line, "--store", self.ledger.store, "--tracking", tracking, *more,
            log=self.folder / "driver.log", environment=self.environment,
        )  # fmt: skip


@pytest.fixture
def drill(cluster: Nodes, space: Path, tmp_path: Path) -> Drill:
    return Drill(cluster, space, tmp_path)


def test_a_driver_killed_at_many_moments_ends_where_an_undisturbed_one_does(
    drill: Drill, cluster: Nodes, space: Path, tmp_path: Path
) -> None:
    one = ("--set", "search.concurrency=1")
    calm, twin = (Drill(cluster, space, tmp_path, name=name) for name in ("calm", "twin"))
    for undisturbed in (calm, twin):
        undisturbed.start(*one).ended()
    rng, tracking = random.Random(0), f"sqlite:///{tmp_path / 'mlflow.db'}"
    for kill in range(KILLS):
        before = blocks_of(drill.ledger)
        driver = drill.start(*one, tracking=tracking)
        if kill % 3:  # every third one dies while it is still joining, preparing or proposing
            driver.wait_for(drill.ledger, min(len(before) + 1 + kill % 4, 70))
        time.sleep(rng.uniform(0.0, 0.2) if kill % 3 else rng.uniform(0.2, 4.0))
        driver.kill()
        assert kept(before, drill.ledger)
        numbers = [record.number for record in drill.ledger.trials()]
        assert numbers == list(range(len(numbers)))
    driver = drill.start(*one, tracking=tracking)
    told = driver.ended()
    assert driver.code == 0, told
    results = read_results(drill.ledger)
    assert [result.record.state for result in results] == ["COMPLETE"] * 12
    assert [result.record.params for result in results] == [
        result.record.params for result in read_results(calm.ledger)
    ]
    assert len(probs_of(calm.ledger)) == 72
    assert probs_of(drill.ledger) == probs_of(calm.ledger) == probs_of(twin.ledger)
    _shown_once(tracking, trials=12)


def _shown_once(tracking: str, *, trials: int) -> None:
    """MLflow has one run per trial and one for the search, all of them over."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking)
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments)
    shown = sorted(run.data.tags["mer.trial"] for run in runs)
    assert shown == sorted(["", *map(str, range(trials))])
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_lost_node_costs_at_most_its_running_block(drill: Drill, cluster: Nodes) -> None:
    # A trial must outlast the time by which one node's first worker starts later than the other's.
    driver = drill.start("--trials", "4", "--set", "train.epochs=300")
    driver.wait_for(drill.ledger, 6)
    before = blocks_of(drill.ledger)
    trials = {place.split("/")[1] for place in before}
    cluster.lose()
    try:
        told = driver.ended()
    finally:
        cluster.join()
    assert driver.code == 0, told
    assert len(trials) == 2  # one on each node
    assert "4 trials to run, 2 at a time" in told
    assert kept(before, drill.ledger)
    results = read_results(drill.ledger)
    assert [result.record.state for result in results] == ["COMPLETE"] * 4
    assert [len(result.record.values) for result in results] == [6] * 4


def test_workers_without_memory_end_the_search_with_the_commonest_reason_first(
    cluster: Nodes, space: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load(space.read_text())
    content["model"]["lstm_size"] = {"choice": [4, 10_000_000]}
    content["train"]["learning_rate"] = {"choice": [0.001, 1.0e30]}
    diverges = {"model.lstm_size": 4, "train.learning_rate": 1.0e30, "model.attention": "none"}
    too_large = {"model.lstm_size": 10_000_000, "train.learning_rate": 0.001}
    content["search"]["first"] = [diverges, *({**too_large, "model.attention": each}
                                              for each in ("none", "temporal"))]  # fmt: skip
    file = tmp_path / "failing.yaml"
    file.write_text(yaml.safe_dump(content))
    failing = Drill(cluster, file, tmp_path)
    driver = failing.start("--set", "search.concurrency=1")
    told = driver.ended()
    assert driver.code == 1, told
    assert "3 trials failed before the first block and none succeeded" in told
    first, second = (line for line in told.splitlines() if " times: " in line)
    assert first.startswith("  - 2 times: ")
    assert "memory" in first
    assert second.startswith("  - 1 times: ")
    assert [record.state for record in failing.ledger.trials()] == ["FAILED"] * 3


@contextmanager
def mounted(place: Path, *how: str) -> Iterator[Path]:
    """A mount that ends with the block; skips where this user may not mount."""
    place.mkdir(exist_ok=True)
    made = subprocess.run(["mount", *how, str(place)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting needs rights that this user lacks")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_store_that_fills_up_turns_read_only_and_rots(drill: Drill, tmp_path: Path) -> None:
    ledger = drill.ledger
    with mounted(tmp_path / "store", "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        one = ("--set", "search.concurrency=1", "--set", "train.epochs=40")
        full = drill.start(*one)
        full.wait_for(ledger, 8)
        filler = tmp_path / "store" / "filler"
        with filler.open("wb", buffering=0) as file, _full():
            while True:
                file.write(bytes(4096))
        told = full.ended()
        assert full.code == 1, told
        assert "the store cannot be written (No space left on device); free some space" in told
        before = blocks_of(ledger)
        assert len(before) >= 8
        assert not list(Path(ledger.root).rglob("*.partial"))
        filler.unlink()

        locked = drill.start(*one)
        locked.wait_for(ledger, len(before) + 4)
        trials = Path(ledger.root) / "trials"
        with mounted(trials, "--bind", str(trials)):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(trials)], check=True)
            told = locked.ended()
        assert locked.code == 1, told
        assert "Read-only file system); make it writable and launch again" in told
        assert kept(before, ledger)

        before = blocks_of(ledger)
        _rot(trials)
        last = drill.start(*one, "--trials", "5")
        told = last.ended()
        assert last.code == 0, told
        states = [record.state for record in ledger.trials()]
        assert states == ["COMPLETE", "FAILED", "COMPLETE", "COMPLETE", "COMPLETE"]
        assert "unreadable" in ledger.trials()[1].reason
        after = blocks_of(ledger)
        changed = {place for place in before if after[place][0] != before[place][0]}
        assert changed == {"trials/000000/block-02.npz", "trials/000000/block-04.npz"}
        assert ledger.blocks(0)[1] == []


@contextmanager
def _full() -> Iterator[None]:
    with pytest.raises(OSError, match="No space left on device"):
        yield


def _rot(trials: Path) -> None:
    """A flipped bit and a cut in two blocks of a finished trial, and half a record of another."""
    flipped, cut = (trials / "000000" / f"block-0{index}.npz" for index in (2, 4))
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 0x10
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:200])
    record = trials / "000001" / "trial.json"
    assert json.loads(record.read_text())["state"] == "COMPLETE"
    record.write_text(record.read_text()[:100])
