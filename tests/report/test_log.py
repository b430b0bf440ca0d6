"""Predictions as an MEGC log, scored as the search scores them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mer_search.errors import InputError
from mer_search.loso.ledger import Ledger
from mer_search.loso.megc_log import score_log
from mer_search.report.compare import compare
from mer_search.report.log import export_log

Make = Callable[..., Ledger]


@pytest.mark.parametrize("trial", ["best", 0])
def test_a_log_scores_as_the_trial(invented_search: Make, trial: int, tmp_path: Path) -> None:
    ledger = invented_search()
    document = compare([ledger]).as_json()
    number = document["best"]["number"] if trial == "best" else trial
    file = tmp_path / "log.txt"
    file.write_text(export_log(ledger, trial))
    found = score_log(file)
    for name in ("uf1", "uar", "accuracy"):
        assert found[name] == pytest.approx(document["trials"][number][name])
    assert found["clips"] == 30
    assert set(found["datasets"]) == {"toy"}
    if trial == "best":
        assert found["confusion"] == document["best"]["confusion"]


def test_only_trials_with_all_folds_are_logged(invented_search: Make) -> None:
    ledger = invented_search()
    with pytest.raises(InputError, match="trial 2 is STOPPED with 1 of 6 folds"):
        export_log(ledger, 2)
    with pytest.raises(InputError, match="there is no trial 99"):
        export_log(ledger, 99)
    with pytest.raises(InputError, match="none of the 1 trials has all folds"):
        export_log(invented_search("other", states=("RUNNING",)), "best")
