"""MLflow shows the ledger, once, whatever happened before."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from mer_search.errors import InputError
from mer_search.loso.estimates import Estimate, correct
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results
from mer_search.tracking.mirror import Mirror, mirror
from mer_search.tracking.pages import weights_tag
from mer_search.tracking.pictures import confusion_picture, curve_picture
from mer_search.tracking.place import TrackingAway, lay_out, uri_of

pytestmark = pytest.mark.slow  # MLflow lays out a new database for each

Search = Callable[..., Ledger]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing may be written into the working directory."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield
    assert list(folder.iterdir()) == []


def runs_of(uri: str) -> dict[str, Run]:
    client = MlflowClient(uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments)
    found = {run.data.tags["mer.search"] + run.data.tags["mer.trial"]: run for run in runs}
    assert len(found) == len(runs)
    return found


def test_a_search_is_a_parent_with_a_child_per_trial(invented_search: Search) -> None:
    ledger = invented_search()
    uri = uri_of(ledger, None)
    synced = Mirror(ledger, uri).sync()
    assert (synced.created, synced.written) == (7, 6)
    runs, results = runs_of(uri), read_results(ledger)
    parent = runs["invented"]
    assert parent.data.tags["mer.kind"] == "search"
    assert "Selected, optimistic" in parent.data.tags["mlflow.note.content"]
    assert parent.data.params["clips"] == "30"
    assert parent.data.metrics["selected.uf1"] == pytest.approx(
        max(each.scores["uf1"] for each in results if each.complete)
    )
    states = [runs[f"invented{number}"].info.status for number in range(6)]
    assert states == ["FINISHED", "FINISHED", "KILLED", "FINISHED", "FAILED", "RUNNING"]
    child = runs["invented3"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.params["model.attention"] == "temporal"
    assert child.data.metrics["uf1"] == pytest.approx(results[3].scores["uf1"])
    assert child.info.start_time == 1000 * int(results[3].record.started)
    assert "uf1" not in runs["invented2"].data.metrics, "a partial score is no score"
    assert runs["invented4"].data.tags["mer.reason"] == "out of memory"
    client = MlflowClient(uri)
    curve = client.get_metric_history(child.info.run_id, "so_far.uf1")
    assert [point.step for point in curve] == [1, 2, 4, 6]
    assert [point.timestamp for point in curve] == [
        int(1000 * results[3].blocks[index].finished) for index in range(4)
    ]
    files = {file.path for file in client.list_artifacts(child.info.run_id)}
    assert files == {"predictions.csv", "pictures"}, "the best one's"
    other = {file.path for file in client.list_artifacts(runs["invented1"].info.run_id)}
    assert other == {"predictions.csv"}
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {
        "best",
        "search.yaml",
    }


def test_runs_on_random_weights_are_tagged(invented_search: Search) -> None:
    backbone = {"name": "vgg-face", "weights": "random"}
    for name, weights in (("drawn", backbone), ("trained", {"name": "vgg-face"})):
        ledger = invented_search(name, features={"backbone": weights})
        uri = uri_of(ledger, None)
        Mirror(ledger, uri).sync()
    tags = {name: run.data.tags.get("mer.weights") for name, run in runs_of(uri).items()}
    assert tags["drawn"] == tags["drawn0"] == tags["drawn3"] == "random"
    assert {tags["trained"], tags["trained3"]} == {None}


def test_a_search_over_both_kinds_of_weights_tags_the_drawn_ones() -> None:
    backbone = {"name": "vgg-face", "weights": {"choice": ["pretrained", "random"]}}
    file, path = {"features": {"backbone": backbone}}, "features.backbone.weights"
    assert weights_tag(file, {}) == {}
    assert weights_tag(file, {path: "random"}) == {"mer.weights": "random"}
    assert weights_tag(file, {path: "random", "features.backbone.name": "patches"}) == {}


def test_writing_again_changes_nothing(invented_search: Search) -> None:
    ledger = invented_search()
    uri = uri_of(ledger, None)
    Mirror(ledger, uri).sync()
    before = runs_of(uri)
    again = Mirror(ledger, uri).sync()
    assert (again.created, again.written) == (0, 0)
    after = runs_of(uri)
    assert {k: v.data.metrics for k, v in after.items()} == {
        k: v.data.metrics for k, v in before.items()
    }
    history = MlflowClient(uri).get_metric_history(after["invented"].info.run_id, "selected.uf1")
    assert len(history) == 1


def test_a_sync_that_died_is_completed(
    invented_search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = invented_search()
    uri = uri_of(ledger, None)
    left = iter(range(2))

    def dying(self: MlflowClient, *args: Any, **kwargs: Any) -> None:
        next(left)  # the third call raises StopIteration
        log_batch(self, *args, **kwargs)

    log_batch = MlflowClient.log_batch
    monkeypatch.setattr(MlflowClient, "log_batch", dying)
    with pytest.raises(StopIteration):
        Mirror(ledger, uri).sync()
    monkeypatch.undo()
    assert Mirror(ledger, uri).sync().written == 4
    runs = runs_of(uri)
    assert len(runs) == 7
    assert runs["invented3"].data.metrics["folds_done"] == 6


def test_a_trial_that_goes_on_and_a_driver_that_is_gone(invented_search: Search) -> None:
    ledger = invented_search()
    uri = uri_of(ledger, None)
    shown = Mirror(ledger, uri)
    shown.sync()
    assert mirror(ledger, uri, running=False).written == 1
    runs = runs_of(uri)
    assert (runs["invented5"].info.status, runs["invented"].info.status) == ("KILLED", "KILLED")
    assert runs["invented5"].data.tags["mer.state"] == "interrupted"
    ledger.write_trial(ledger.trial(5).ended("FAILED", values=(0.1,), reason="no memory"))
    Mirror(ledger, uri).sync([5])
    runs = runs_of(uri)
    assert runs["invented5"].info.status == "FAILED"
    assert runs["invented5"].data.tags["mer.reason"] == "no memory"


def test_searches_of_one_name_in_two_stores_stay_apart(
    invented_search: Search, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path / 'shared.db'}"
    for store in ("a", "it's b"):
        mirror(invented_search(store=tmp_path / store), uri, running=False)
    client = MlflowClient(uri)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert len(runs) == 14


def test_addresses(invented_search: Search) -> None:
    ledger = invented_search()
    assert uri_of(ledger, None).endswith("/store/mlflow.db")
    with pytest.raises(InputError, match="'localhost:5000' is no address of MLflow; write http:"):
        uri_of(ledger, "localhost:5000")
    with pytest.raises(InputError, match="memory://far is not on this machine"):
        uri_of(Ledger("memory://far", "x"), None)


def test_pictures_are_drawn_on_demand_and_of_partial_trials_too(invented_search: Search) -> None:
    ledger = invented_search()
    uri = uri_of(ledger, None)
    with pytest.raises(InputError, match="there is no trial 9; numbers go from 0 to 5"):
        mirror(ledger, uri, running=True, pictures_of=9)
    mirror(ledger, uri, running=True, pictures_of="all")
    client, runs = MlflowClient(uri), runs_of(uri)
    drawn = {
        number: [file.path for file in client.list_artifacts(runs[f"invented{number}"].info.run_id)]
        for number in range(6)
    }
    assert [number for number, files in drawn.items() if "pictures" in files] == [0, 1, 2, 3, 5]
    partial = confusion_picture(read_results(ledger)[2]).axes[0]
    assert partial.get_title() == "trial 2, 1 of 6 folds pooled (selected)"
    assert sum(int(cell.get_text()) for cell in partial.texts) == 5
    assert (partial.get_xlabel(), partial.get_ylabel()) == ("predicted", "true")
    result = read_results(ledger)[3]
    curve = curve_picture(result).axes[0]
    assert [line.get_label() for line in curve.lines] == ["uf1", "uar", "accuracy"]
    assert curve.lines[0].get_xdata().tolist() == [1, 2, 4, 6]
    assert curve.lines[0].get_ydata()[-1] == pytest.approx(result.scores["uf1"])


def test_the_same_trials_are_corrected_once_and_runs_are_kept_slim(
    invented_search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, corrected = invented_search(), []

    def counted(*args: Any, **options: Any) -> Estimate:
        corrected.append(args)
        return correct(*args, **options)

    monkeypatch.setattr("mer_search.tracking.mirror.correct", counted)
    shown = Mirror(ledger, uri_of(ledger, None))
    for _ in range(2):
        shown.sync(running=False)
    assert len(corrected) == 1
    again = Mirror(ledger, uri_of(ledger, None))
    for known in (shown, again):
        assert {key for run in known.runs.values() if run is not known.runs[""]
                for key in run.data.tags} <= {"mer.shown", "mer.state", "mer.reason"}  # fmt: skip
    assert again.sync(running=False).written == 0


def test_a_process_killed_while_it_lays_out_the_database_leaves_none(
    invented_search: Search, tmp_path: Path
) -> None:
    file = tmp_path / "new" / "mlflow.db"
    uri = f"sqlite:///{file}"
    code = f"from mer_search.tracking.place import lay_out; lay_out({uri!r})"
    laying = subprocess.Popen([sys.executable, "-c", code])

    def begun() -> bool:
        return any(each.stat().st_size for each in file.parent.glob(".mlflow-*/mlflow.db"))

    while not begun():
        assert laying.poll() is None
        time.sleep(0.005)
    laying.kill()
    laying.wait()
    assert not file.exists()
    assert mirror(invented_search(), uri, running=False).created == 7
    assert len(runs_of(uri)) == 7


def test_a_database_that_another_process_laid_out_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, link = tmp_path / "mlflow.db", os.link

    def late(made: Path, wanted: Path) -> None:
        wanted.write_text("the other's")
        link(made, wanted)

    monkeypatch.setattr(os, "link", late)
    lay_out(f"sqlite:///{file}")
    assert file.read_text() == "the other's"
    assert list(tmp_path.glob(".mlflow-*")) == []


def test_mlflow_being_away_is_told_in_one_message(
    invented_search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingAway, match=r"http://127\.0\.0\.1:9: MLflow does not answer"):
        mirror(invented_search(), "http://127.0.0.1:9", running=False)
