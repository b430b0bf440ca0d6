"""The card says what the numbers are worth and what the model is not for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_search import Searched

from mer_search.export import card
from mer_search.export.chosen import read_chosen

Exported = Callable[[Searched, int], Path]


@pytest.fixture
def settings(maps: Searched, exported: Exported) -> dict[str, Any]:
    best = read_chosen(maps.ledger, "best").result.record.number
    found: dict[str, Any] = json.loads((exported(maps, best) / "settings.json").read_text())
    return found


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
