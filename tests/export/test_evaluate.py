"""A model on other clips: pooled scores, and what keeps them from being an estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_search import Searched

from mer_search.errors import InputError
from mer_search.export import load
from mer_search.export.evaluate import evaluate, lines
from mer_search.export.model import ExportedModel
from mer_search.loso import metrics

Exported = Callable[[Searched, int], Path]


@pytest.fixture
def model(maps: Searched, exported: Exported) -> ExportedModel:
    return load(exported(maps, 0))


def test_scores_are_those_of_the_predictions(maps: Searched, model: ExportedModel) -> None:
    strangers = tuple(replace(clip, subject=f"x{clip.subject}") for clip in maps.dataset.clips)
    dataset = replace(maps.dataset, clips=strangers[:7])
    found = evaluate(model, dataset)
    labels = [model.predict(clip.frames[0].parent).label for clip in dataset.clips]
    counts = np.zeros((2, 2), int)
    for clip, label in zip(dataset.clips, labels, strict=True):
        counts[model.classes.index(clip.label), model.classes.index(label)] += 1
    assert found["clips"] == 7
    assert found["confusion"] == counts.tolist()
    assert found["uf1"] == pytest.approx(float(metrics.uf1(counts)))
    assert found["uar"] == pytest.approx(float(metrics.uar(counts)))
    assert found["accuracy"] == pytest.approx(counts.trace() / 7)
    f1 = [each["f1"] for each in found["per_class"].values()]
    assert np.mean(f1) == pytest.approx(found["uf1"])
    assert np.mean([each["recall"] for each in found["per_class"].values()]) == found["uar"]
    assert [each["clips"] for each in found["per_class"].values()] == counts.sum(1).tolist()
    assert found["notes"] == []
    subjects = found["per_subject"]
    assert [*subjects] == ["toy/xs0", "toy/xs1"]
    assert [each["clips"] for each in subjects.values()] == [4, 3]
    assert np.sum([each["confusion"] for each in subjects.values()], 0).tolist() == counts.tolist()
    right = [clip.label == label for clip, label in zip(dataset.clips, labels, strict=True)]
    assert subjects["toy/xs1"]["right"] == sum(right[4:])
    assert subjects["toy/xs1"]["accuracy"] == pytest.approx(np.mean(right[4:]))
    assert not subjects["toy/xs1"]["seen"]
    told = list(lines(found))
    assert told[0].startswith(f"7 clips pooled: uf1 {found['uf1']:.4f}, uar ")
    share = subjects["toy/xs1"]["accuracy"]
    assert told[-1] == f"toy/xs1     3 {sum(right[4:]):>7} {share:>8.3f}"
    assert [line.split()[0] for line in told[1:5]] == ["class", *model.classes, "subject"]


def test_classes_may_stand_in_another_order_but_must_be_the_same(
    maps: Searched, model: ExportedModel
) -> None:
    turned = replace(maps.dataset, classes=("moved", "calm"))
    assert evaluate(model, turned)["confusion"] == evaluate(model, maps.dataset)["confusion"]
    with pytest.raises(InputError, match="classes calm, moved, odd are not the model's, calm, mov"):
        evaluate(model, replace(maps.dataset, classes=("calm", "moved", "odd")))


def test_clips_of_trained_subjects_and_absent_classes_are_told(
    maps: Searched, model: ExportedModel
) -> None:
    calm = [clip for clip in maps.dataset.clips if clip.label == "calm"]
    mixed = (replace(calm[0], subject="new"), *calm[1:4])
    found = evaluate(model, replace(maps.dataset, clips=mixed))
    assert [each["seen"] for each in found["per_subject"].values()] == [False, True, True]
    assert list(lines(found))[-1].startswith("note: 3 of 4 clips are of subjects")
    assert found["notes"] == [
        "no clip is moved: it counts 0 in uf1 and uar",
        "3 of 4 clips are of subjects that the model was trained on: these scores say nothing "
        "about new subjects",
    ]


def test_every_clip_that_cannot_be_labelled_is_told(
    maps: Searched, model: ExportedModel, tmp_path: Path
) -> None:
    first, second, third, *others = maps.dataset.clips
    gone = replace(first, frames=(tmp_path / "gone.npy",))
    short = replace(second, frames=second.frames[:2])
    with pytest.raises(InputError, match="evaluate: 2 faults") as told:
        evaluate(model, replace(maps.dataset, clips=(gone, short, third, *others)))
    assert "toy/s0/c0: a frame has to exist, this file does not" in str(told.value)
    assert "toy/s0/c1: gives 2 key frames" in str(told.value)
