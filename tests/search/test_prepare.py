"""A name means one search: what differs is listed, what may change may change."""

from collections.abc import Callable
from typing import Any

import pytest

from mer_search import space_file
from mer_search.errors import InputError, SearchDiffers
from mer_search.experiment import Experiment
from mer_search.loso.ledger import Ledger
from mer_search.search.prepare import check_same, stored

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
            search={"trials": 99, "concurrency": 7},
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
