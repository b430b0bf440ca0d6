"""What a worker tells the driver, step by step. No Ray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.utils import flatten_dict

from mer_search import space_file
from mer_search.datasets import synthetic
from mer_search.errors import MerSearchError
from mer_search.experiment import Experiment
from mer_search.features import backbones, plan
from mer_search.features.cache import Cache
from mer_search.loso.ledger import Ledger
from mer_search.search import worker
from mer_search.search.book import Book
from mer_search.search.nodes import Node
from mer_search.search.prepare import prepare
from mer_search.search.searcher import hear
from mer_search.search.worker import LosoTrial, Material, neighbours

Started = tuple[Book, LosoTrial, list[str]]


@pytest.fixture
def started(tiny_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """A book with a trial under way, the worker that runs it, and what is said."""
    experiment = space_file.read(str(tiny_space), ["train.epochs=1", "train.learning_rate=0.01"])
    return start(experiment, tmp_path, monkeypatch)


def start(experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """The first trial of an experiment under way."""
    monkeypatch.setattr(worker, "neighbours", lambda experiment: 2)
    monkeypatch.setattr(worker, "_device", lambda: ("cpu", "a GPU could not be used"))
    ledger, cache = Ledger(str(tmp_path / "store"), "tiny"), Cache(tmp_path / "cache")
    ready = prepare(experiment, ledger, cache=cache)
    said: list[str] = []
    book = Book(experiment, ledger, ready.protocol, trials=1, say=said.append)
    record = book.next()
    assert record is not None
    weights = {each.backbone: plan.identity(each.backbone)
               for each in experiment.feature_settings()}  # fmt: skip
    material = Material(experiment, ready.dataset, ready.protocol, ledger, cache.root, weights)
    trial: LosoTrial = object.__new__(LosoTrial)  # without Tune's own loggers
    trial.setup({"number": record.number, "params": record.params}, material)
    return book, trial, said


def test_memory_is_told_before_anything_is_trained(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, trial, said = started
    trained: list[int | None] = []
    train: Callable[..., Any] = worker.run_block

    def counted(*arguments: Any, **named: Any) -> Any:
        trained.append(named["width"])
        return train(*arguments, **named)

    monkeypatch.setattr(worker, "run_block", counted)
    assert hear(book, 0, flatten_dict(trial.step()))
    memory = book.ledger.trial(0).memory
    assert trained == []
    assert (memory["width"], memory["folds"]) == (1, 1)
    assert 0 < memory["needs"] <= memory["given"]
    (told,) = said
    assert told.startswith(f"trial 0 trains 1 fold at once: {memory['needs'] / 2**20:.1f} MB of ")
    while hear(book, 0, flatten_dict(trial.step())):
        pass
    assert trained == [1] * 6
    assert book.ledger.trial(0).state == "COMPLETE"
    assert book.ledger.trial(0).memory == memory


@pytest.mark.slow
def test_a_fine_tuned_trial_tells_its_time_and_trains_without_the_networks_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = synthetic.write(tmp_path / "faces", subjects=2, clips=2, classes=2, frames=5)
    classes = {"happy": ["happiness"], "surprised": ["surprise"]}
    experiment = space_file.from_dict({
        "name": "tuned", "data": {"reader": "casme2", "root": str(root), "classes": classes},
        "features": {"backbone": {"trainable": "last-block", "weights": "random"},
                     "keyframes": {"count": 2}, "reference": "onset", "align": {"method": "none"}},
        "model": {"attention": {"choice": ["spatial"]}, "lstm_size": 4, "attention_size": 4},
        "train": {"epochs": 1, "batch_size": 2},
        "search": {"constraints": ["parameters <= 2e6"]},
    })  # fmt: skip
    book, trial, said = start(experiment, tmp_path, monkeypatch)
    monkeypatch.setattr(backbones, "network", None)  # nothing but the block is built from here on
    while hear(book, 0, flatten_dict(trial.step())):
        pass
    record = book.ledger.trial(0)
    assert record.state == "COMPLETE", record.reason
    assert record.memory["seconds"] > 0
    assert 1.6e6 < record.measured["parameters"] < 2e6
    assert said[0].startswith("trial 0 trains 1 fold one after another: ")
    assert len(trial.blocks[0].probs) > 0


def test_a_trial_that_is_cut_is_told_each_time(started: Started) -> None:
    book, _, said = started
    for folds in (4, 4, 8):
        memory = {"width": 4, "wanted": folds, "folds": 8, "needs": 1, "given": 2}
        book.plan(0, memory, f"4 folds of {folds}")
    assert said == ["trial 0 trains 4 folds of 4", "trial 0 trains 4 folds of 8"]


@pytest.mark.parametrize("fault", [MerSearchError("it diverged"), ZeroDivisionError("by 0")])
def test_notes_of_a_trial_that_then_fails_are_kept(
    started: Started, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    book, trial, said = started
    assert hear(book, 0, flatten_dict(trial.step()))

    def fail(*arguments: Any, says: Callable[[str], None], **named: Any) -> None:
        says("memory ran out on cpu; went on with 2 folds at once")
        raise fault

    monkeypatch.setattr(worker, "run_block", fail)
    assert not hear(book, 0, flatten_dict(trial.step()))
    record = book.ledger.trial(0)
    notes = ("a GPU could not be used", "memory ran out on cpu; went on with 2 folds at once")
    assert (record.state, record.notes) == ("FAILED", notes)
    assert str(fault) in record.reason
    assert said[1:] == [f"trial 0: {note}" for note in notes]


def test_trials_that_share_a_machine_or_a_gpu_are_counted(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    here = SimpleNamespace(get_node_id=lambda: "here")
    monkeypatch.setattr("ray.get_runtime_context", lambda: here)
    there = [Node("here", "a", {"CPU": 8.0}), Node("other", "b", {"CPU": 64.0})]
    monkeypatch.setattr(worker, "nodes", lambda: there)
    experiment = started[0].experiment

    def of(concurrency: int | str = "auto", **resources: float) -> int:
        search = experiment.search.model_copy(update={"concurrency": concurrency})
        asked = experiment.resources.model_copy(update=resources)
        return neighbours(replace(experiment, search=search, resources=asked))

    assert (of(), of(cpu=3), of(concurrency=4), of(cpu=16)) == (8, 2, 4, 1)
    assert (of(gpu=0.25), of(gpu=1), of(gpu=2), of(2, gpu=0.25)) == (4, 1, 1, 2)
