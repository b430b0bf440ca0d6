"""Rivals and fine-tuned trials on a real Ray: raced, shown in MLflow, and run no more than once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from drivers import Driver, blocks_of
from ray_head import head

from mer_search.datasets import synthetic
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    cache, before = {"MER_SEARCH_CACHE": str(tmp_path_factory.mktemp("cache"))}, dict(os.environ)
    with head(cpus=1, environment=cache) as running:
        os.environ.update(running.environment)  # the process that forks drivers finds the token
        try:
            yield running.gcs
        finally:
            os.environ.clear()
            os.environ.update(before)


def run(*arguments: object, folder: Path) -> str:
    driver = Driver(*arguments, log=folder / "driver.log", environment=dict(os.environ))
    told = driver.ended()
    assert driver.code == 0, told
    return told


def test_rivals_run_once_and_a_second_call_only_reads(
    address: str, tiny_space: Path, tmp_path: Path
) -> None:
    maps, folder = yaml.safe_load(tiny_space.read_text())["data"]["root"], tmp_path / "rivals"
    folder.mkdir()
    for name, grid in (("mean-pool", 2), ("majority", 2), ("ststnet", 8)):
        space = {
            "name": f"tiny-{name}",
            "data": {"reader": "manifest", "root": maps},
            "features": {"align": {"method": "none"},
                         "backbone": {"name": "patches", "grid": grid}},
            "model": {"name": name},
            "train": {"epochs": 2, "batch_size": 8},
            "search": {"trials": 1},
        }  # fmt: skip
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(space))

    def leaderboard() -> dict[str, Any]:
        told = run("leaderboard", folder, "--json", "--store", tmp_path / "store",
                   "--tracking", "none", "--address", address, folder=tmp_path)  # fmt: skip
        found: dict[str, Any] = json.loads(told[told.index("\n{") :])
        return found

    first = leaderboard()
    written = {f: f.stat().st_mtime_ns for f in (tmp_path / "store").rglob("*.npz")}
    assert {row["model"] for row in first["rivals"]} == {"mean-pool", "majority", "ststnet"}
    assert all(row["trials"] == row["finished"] == 1 for row in first["rivals"])
    assert len(first["pairs"]) == 3
    assert leaderboard() == first
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "store").rglob("*.npz")} == written


def test_fine_tuned_trials_are_raced_shown_and_continued(address: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    root = synthetic.write(tmp_path / "faces", subjects=4, clips=4, classes=2, frames=6)
    learns, idles = {"train.learning_rate": 0.01}, {"train.learning_rate": 1e-9}
    trainable, rate = "features.backbone.trainable", "train.backbone_learning_rate"
    tuned = {trainable: "last-block", rate: 1e-4}
    space = {
        "name": "tuned",
        "data": {"reader": "casme2", "root": str(root),
                 "classes": {"happy": ["happiness"], "surprised": ["surprise"]}},
        "features": {"align": {"method": "none"}, "reference": "onset",
                     "keyframes": {"method": "apex", "count": 2},
                     "backbone": {"name": "facenet-casia", "weights": "random",
                                  "trainable": {"choice": ["none", "last-block"]}}},
        "model": {"attention": "spatial", "lstm_size": 8, "attention_size": 4},
        "train": {"epochs": 8, "batch_size": 8, "learning_rate": {"choice": [1e-9, 0.01]},
                  "backbone_learning_rate": {"choice": [1e-4], "when": {trainable: "last-block"}}},
        "search": {"trials": 3, "concurrency": 1, "sampler": "random",
                   "racing": {"rule": "asha", "blocks": [1, 1, 1, 1]},
                   "first": [{**tuned, **learns}, {**tuned, **idles}, {**tuned, **learns}]},
    }  # fmt: skip
    file, store = tmp_path / "tuned.yaml", tmp_path / "store"
    file.write_text(yaml.safe_dump(space))
    line = ("launch", file, "--store", store, "--address", address)
    ledger = Ledger(str(store), "tuned")
    told = run(*line, "--trials", "2", folder=tmp_path)
    assert "one after another" in told
    before = blocks_of(ledger)
    run(*line, folder=tmp_path)
    after = blocks_of(ledger)
    assert {place: after[place] for place in before} == before
    assert len(after) > len(before)

    results = read_results(ledger)
    assert [result.record.state for result in results] == ["COMPLETE", "STOPPED", "COMPLETE"]
    assert results[1].folds_done < 4
    one, other = (results[n].blocks[3].probs.tobytes() for n in (0, 2))
    assert one == other, "a trial of equal settings gives equal bits"
    assert {"spatial", "occluded_top", "occluded_random"} <= set(results[0].blocks[0].maps)
    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = {each.data.tags["mer.trial"]: each for each in client.search_runs(experiments)}
    assert set(runs) == {"", "0", "1", "2"}
    assert runs["0"].data.params[trainable] == "last-block"
    assert runs["1"].data.tags["mer.state"] == "STOPPED"
