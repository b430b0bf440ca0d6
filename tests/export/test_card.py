"""The card says what the numbers are worth and what the model is not for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_search import Searched

from mer_search.export import card, chosen
from mer_search.export.chosen import read_chosen
from mer_search.loso.fold_block import FoldBlock
from mer_search.loso.folds import make_folds
from mer_search.loso.nested import Nested, OuterGroup

Exported = Callable[[Searched, int], Path]


@pytest.fixture
def settings(maps: Searched, exported: Exported) -> dict[str, Any]:
    best = read_chosen(maps.ledger, "best").result.record.number
    found: dict[str, Any] = json.loads((exported(maps, best) / "settings.json").read_text())
    return found


@pytest.mark.slow
def test_the_card_in_the_folder_is_that_of_the_settings(maps: Searched, exported: Exported) -> None:
    folder = exported(maps, 0)
    settings = json.loads((folder / "settings.json").read_text())
    assert (folder / "card.md").read_text() == card.text(settings)


def test_the_best_trials_scores_are_called_selected_and_optimistic(
    settings: dict[str, Any],
) -> None:
    told = card.text(settings)
    corrected = settings["scores"]["corrected"]
    low, high = corrected["interval"]
    assert "| score | selected (optimistic) | corrected |" in told
    assert f"{corrected['uf1']:.3f} [{low:.3f}, {high:.3f}]" in told
    assert "It chose this trial, which makes it optimistic." in told
    assert "after the choice among 3 finished trials" in told
    assert "corrects the choice among the 3 finished of 4 trials" in told
    assert "its own score is unknown" in told
    assert "all** 16 clips of 4 subjects: calm 8, moved 8." in told
    assert settings["data"]["digest"] in told


def test_corrected_scores_of_another_trial_are_not_this_ones(settings: dict[str, Any]) -> None:
    settings["number"] = 77
    told = card.text(settings)
    best = settings["scores"]["corrected"]["trial"]
    assert f"| corrected of trial {best}, the best |" in told
    assert "asked for by its number; if its score was the reason, it is optimistic" in told


def test_a_nested_score_stands_beside_the_corrected_one(
    maps: Searched, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings["scores"]["nested"] is None
    assert "Nested" not in card.text(settings)
    result = read_chosen(maps.ledger, 0).result
    protocol = result.protocol
    folds = make_folds(protocol.subject, protocol.label, protocol="group-2")
    groups = []
    for number, held in enumerate(folds.held_out):
        keys = tuple(key for key, out in zip(protocol.keys, held, strict=True) if out)
        block = FoldBlock(keys, result.probs[held], 0, 1.0, 0.0, {})
        subjects = folds.subjects[number]
        groups.append(OuterGroup(number, subjects, 1, 1, result.record, 0.5, block))
    nested = Nested("group-2", "uf1", replace(protocol, folds=folds), tuple(groups))
    monkeypatch.setattr(chosen, "read_nested", lambda ledger, objective: nested)
    settings["scores"] = read_chosen(maps.ledger, 0).scores
    told = card.text(settings)
    low, high = settings["scores"]["nested"]["interval"]
    assert "| corrected of trial" in told or "| corrected |" in told
    assert "| nested (the whole procedure) |" in told
    assert f"| {result.scores['uf1']:.3f} [{low:.3f}, {high:.3f}] |" in told
    assert "Nested (group-2): the whole search was run once for each of 2 groups" in told
    half = replace(nested, groups=(replace(groups[0], block=None), groups[1]))
    monkeypatch.setattr(chosen, "read_nested", lambda ledger, objective: half)
    assert read_chosen(maps.ledger, 0).scores["nested"] is None


def test_limits_follow_the_settings(settings: dict[str, Any]) -> None:
    features = settings["trial"]["features"]
    features["backbone"] = {"name": "vgg-face", "layer": "pool5", "weights": "pretrained"}
    features["align"] = {"method": "mtcnn", "size": 224}
    features["reference"], features["keyframes"] = "onset", {"method": "apex", "count": 3}
    settings["weights"] = {"name": "vgg-face", "sha256": "c" * 64}
    settings["data"] |= {"boundaries": "annotated", "skipped": 2, "frames": [9, 30]}
    told = card.text(settings)
    for sentence in (
        "onset and offset, 9 to 30 frames: cut a video likewise",
        "visible on the first frame", "The first frame counts as onset",
        "Trained on annotated apexes", f"bring the file of SHA-256 {'c' * 64}",
        "non-commercial research", "not why it decided", "Not for judging people",
        ", 2 clips skipped",
    ):  # fmt: skip
        assert sentence in told
    features["backbone"]["weights"] = "random"
    settings["data"]["boundaries"] = "spotted"
    features["reference"], features["keyframes"]["method"] = "none", "uniform"
    told = card.text(settings)
    assert "random weights: a model for tests" in told
    for sentence in ("cut a video", "counts as onset", "annotated apexes", "bring the file"):
        assert sentence not in told
