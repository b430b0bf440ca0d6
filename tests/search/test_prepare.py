"""A name means one search: what differs is listed, what may change may change."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from mer_search import space_file
from mer_search.config import Backbone, Features
from mer_search.datasets import Clip, DataSet
from mer_search.errors import InputError, SearchDiffers
from mer_search.experiment import Experiment
from mer_search.features.cache import Cache
from mer_search.loso.ledger import Ledger, TrialRecord
from mer_search.search.book import Book, News
from mer_search.search.live import Screen
from mer_search.search.prepare import (
    check_same,
    keyframe_bases,
    prepare,
    random_weights,
    stored,
)

DIGEST = "0" * 64
Search = Callable[..., Ledger]
Changed = Callable[..., Experiment]


@pytest.fixture
def changed(invented_space: dict[str, Any]) -> Changed:
    """The invented experiment with other sections."""
    return lambda **sections: space_file.from_dict({**invented_space, **sections})


def test_root_trials_and_resources_may_change(invented_search: Search, changed: Changed) -> None:
    ledger = invented_search()
    check_same(
        changed(
            data={"reader": "casme2", "root": "elsewhere"},
            search={"trials": 99, "concurrency": 7, "racing": {"rule": "none"}},
            resources={"cpu": 4},
        ),
        ledger,
        DIGEST,
    )
    assert stored(ledger)[0].search.trials == 6


def test_all_differences_are_listed(invented_search: Search, changed: Changed) -> None:
    ledger = invented_search()
    train = {"epochs": 4, "learning_rate": {"float": [1e-4, 1e-2], "log": True}, "seed": 1}
    with pytest.raises(SearchDiffers) as told:
        check_same(changed(train=train), ledger, "1" * 64)
    text = str(told.value)
    assert "3 faults" in text
    assert "train.epochs: was 3, now 4" in text
    assert "train.seed: was 0, now 1" in text
    assert f"data.digest: was '{DIGEST}'" in text
    assert "with --name" in text
    assert told.value.exit_code == 2


def test_features_must_be_finite(changed: Changed) -> None:
    keyframes = {"count": {"float": [4.0, 8.0]}}
    with pytest.raises(InputError, match="need finitely many values; write choice or int"):
        changed(features={"keyframes": keyframes})


def test_every_feature_setting_is_extracted_once(changed: Changed) -> None:
    experiment = changed(
        features={
            "keyframes": {"method": {"choice": ["uniform", "all"]},
                          "count": {"int": [4, 8], "step": 2, "when": {"method": ["uniform"]}}},
            "reference": {"choice": ["none", "onset"], "when": {"model.attention": ["none"]}},
        }
    )  # fmt: skip
    settings = experiment.feature_settings()
    told = {(s.keyframes.method, s.keyframes.count, s.reference) for s in settings}
    assert len(settings) == len(told)
    assert told == {
        *(("uniform", count, reference) for count in (4, 6, 8) for reference in ("none", "onset")),
        ("all", 8, "none"),
        ("all", 8, "onset"),
    }


def test_what_was_read_is_recorded_and_shown(tiny_space: Path, tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "store"), "tiny")
    prepared = prepare(space_file.read(tiny_space), ledger, cache=Cache(tmp_path / "cache"))
    record = ledger.search()["record"]
    assert (record["reader"], record["annotation"], record["clips"], record["subjects"]) == (
        "manifest", "1", 24, 6,
    )  # fmt: skip
    assert record["counts"] == {"calm": 12, "moved": 12}
    assert record["data"] == prepared.digest == prepared.dataset.digest
    assert record["keyframes"] == {"all": "annotated"}
    assert (record["weights"], record["random_weights"]) == ({"patches": "none"}, [])
    text = io.StringIO()
    notes = tuple(f"toy/s0/c{i}: 2 faces on [the] onset frame" for i in range(13))
    odd = replace(prepared, filled=replace(prepared.filled, notes=notes))
    known = {
        0: TrialRecord(0, "COMPLETE", {}, {}, (0.2, 0.7)),
        1: TrialRecord(1, "RUNNING", {}, {}),
    }
    book = SimpleNamespace(experiment=space_file.read(tiny_space), todo=5,
                           protocol=prepared.protocol,
                           proposals=SimpleNamespace(records=known))  # fmt: skip
    screen = Screen(Console(file=text, width=200))
    screen.begins(odd, cast(Book, book), 2)
    shown = text.getvalue()
    assert (
        "manifest, annotation 1: 24 clips of 6 subjects (calm 12, moved 12), "
        f"digest {prepared.digest[:16]}\n" in shown
    )
    assert "toy/s0/c11: 2 faces on [the] onset frame\n1 more such notes are in search.y" in shown
    for number, score in ((2, 0.6), (3, 0.8)):
        record = TrialRecord(number, "COMPLETE", {}, {}, (score,))
        screen.news(News(record, 6, {"uf1": score}))
    best = [line.rpartition("; ")[2] for line in text.getvalue().splitlines()[-2:]]
    assert best == ["best so far trial 0", "best so far trial 3"]  # 0 is of an earlier launch


def test_drawn_weights_are_named() -> None:
    random = [Backbone(name=name, weights="random") for name in ("vgg-face", "patches")]
    assert random_weights([*random, Backbone()]) == ["vgg-face"]


@pytest.mark.parametrize(
    ("boundaries", "onset", "expected"),
    [
        ("annotated", None, {"apex": "annotated", "ssim": "annotated", "tim": "annotated"}),
        ("spotted", 0, {"apex": "annotated", "ssim": "annotated", "tim": "spotted"}),
        ("spotted", None, {"apex": "annotated", "ssim": "spotted", "tim": "spotted"}),
    ],
)
def test_annotated_or_spotted(boundaries: str, onset: int | None, expected: dict[str, str]) -> None:
    clip = Clip("d", "s", "c", "a", onset, None, None, ())
    dataset = DataSet("d", "1", ("a",), (clip,), boundaries=boundaries)
    settings = [
        Features.model_validate({"keyframes": {"method": method}}) for method in sorted(expected)
    ]
    assert keyframe_bases(dataset, settings) == expected
