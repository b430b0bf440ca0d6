"""Searches on Ray nodes that differ, vanish, join late, share nothing and pretend to have a GPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ray_head import Head, can_hide, head, node, vanish
from s3_server import s3

import mer_search
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
COMMAND = [sys.executable, "-m", "mer_search"]
needs_namespaces = pytest.mark.skipif(
    not can_hide(), reason="this user may not unshare the mount namespace"
)


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cluster() -> Iterator[Head]:
    """A head that runs no trials."""
    with head(cpus=0) as running:
        yield running


def launch(running: Head, space: Path, store: str, *more: str) -> list[str]:
    return [*COMMAND, "launch", str(space), "--address", running.gcs, "--store", store,
            "--tracking", "none", *more]  # fmt: skip


def ended(line: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def wait_for_cpus(running: Head, cpus: int) -> None:
    """Until the nodes have joined."""
    count = (
        "import ray, sys, time; ray.init(address=sys.argv[1], logging_level='ERROR')\n"
        "while ray.cluster_resources().get('CPU', 0) < int(sys.argv[2]): time.sleep(0.2)"
    )
    line = [sys.executable, "-c", count, running.gcs, str(cpus)]
    subprocess.run(line, env=running.environment, check=True, timeout=150)


@needs_namespaces
def test_every_fault_of_every_node_is_told_before_the_first_trial(
    cluster: Head, tiny_space: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    theirs = tmp_path / "theirs"
    shutil.copytree(
        Path(mer_search.__file__).parent, theirs / "mer_search",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    with (theirs / "mer_search" / "config.py").open("a") as file:
        file.write("# another version\n")
    with ExitStack() as nodes:
        nodes.enter_context(node(cluster))
        wait_for_cpus(cluster, 1)  # two that start together pick the same free ports
        other = {"PYTHONPATH": str(theirs)}
        nodes.enter_context(node(cluster, environment=other, hidden=(store,)))
        wait_for_cpus(cluster, 2)
        told = ended(launch(cluster, tiny_space, str(store)), cluster.environment)
        assert told.returncode == 2, told.stdout + told.stderr
        assert "cluster: 2 faults" in told.stderr
        assert "install the same on both" in told.stderr
        assert f"the store {store} is another one than the driver's" in told.stderr
        assert "Traceback" not in told.stderr
        greedy = ended(
            launch(cluster, tiny_space, str(store), "--set", "resources.gpu=2"),
            cluster.environment,
        )
        assert greedy.returncode == 2, greedy.stdout + greedy.stderr
        assert "a trial asks for cpu 1 and gpu 2 on one node, but" in greedy.stderr
        assert "and no autoscaler brings more" in greedy.stderr
    assert not Ledger(str(store), "tiny").exists()
    assert list((store / ".preflight").iterdir()) == []


@needs_namespaces
def test_on_object_storage_with_nodes_that_share_nothing_vanish_and_join_late(
    cluster: Head, tiny_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").mkdir()
    hidden = (tmp_path / "cache", tmp_path / "maps")
    with s3("lab") as access:
        for name, value in access.items():
            monkeypatch.setenv(name, value)
        environment = {**cluster.environment, **access, "MER_SEARCH_CACHE": str(tmp_path / "cache")}
        ledger = Ledger("s3://lab/runs", "tiny")
        line = launch(
            cluster, tiny_space, "s3://lab/runs", "--trials", "4",
            "--set", "resources.gpu=0.25", "--set", "resources.cpu=0.25",
        )  # fmt: skip
        homes = [tmp_path / "first", tmp_path / "second"]
        first, second = (
            node(cluster, "--num-gpus=1", hidden=hidden,
                 environment={**access, "MER_SEARCH_CACHE": str(home)})
            for home in homes
        )  # fmt: skip
        with first as vanishing:
            wait_for_cpus(cluster, 1)
            driver = subprocess.Popen(
                line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            until = time.monotonic() + 240
            while sum(len(ledger.blocks(each.number)[0]) for each in ledger.trials()) < 4:
                assert driver.poll() is None, driver.communicate()
                assert time.monotonic() < until, "no block within four minutes"
                time.sleep(0.5)
            vanish(vanishing)
        before = {
            (each.number, index): block.finished
            for each in ledger.trials()
            for index, block in ledger.blocks(each.number)[0].items()
        }
        with second:
            told, _ = driver.communicate(timeout=200)
        assert driver.returncode == 0, told
        assert "4 trials to run, 4 at a time" in told
        assert "Ray granted GPU 0 on " in told
        assert "finds no CUDA device, so the CPU was used" in told
        assert "no finished fold is lost" not in told
        results = read_results(ledger)
        assert [each.complete for each in results] == [True] * 4
        after = {
            (each.number, index): block.finished
            for each in ledger.trials()
            for index, block in ledger.blocks(each.number)[0].items()
        }
        assert {place: after[place] for place in before} == before
        assert all("Ray granted GPU 0" in each.notes[0] for each in ledger.trials())
        entries = {path.name for path in (tmp_path / "cache").rglob("*.safetensors")}
        for home in homes:
            fetched = [path.name for path in home.rglob("*.safetensors")]
            assert sorted(fetched) == sorted(entries)
        listed = ended([*COMMAND, "status", "tiny", "--store", "s3://lab/runs"], environment)
        assert listed.returncode == 0, listed.stderr
