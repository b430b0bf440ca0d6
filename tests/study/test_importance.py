"""Importance with what chance alone would show."""

from __future__ import annotations

import numpy as np
import pytest

from mer_search.loso.ledger import TrialRecord
from mer_search.study.importance import importances


def trials(count: int, weight: float = 1.0) -> list[TrialRecord]:
    """Scores that depend on `telling` alone; `depth` matters for half of the trials."""
    rng = np.random.default_rng(3)
    domains = {"m.telling": {"float": [0, 1]}, "m.idle": {"choice": ["a", "b", "c"]},
               "m.depth": {"int": [1, 4]}}  # fmt: skip
    found = []
    for number in range(count):
        params = {"m.telling": float(rng.random()), "m.idle": str(rng.choice(["a", "b", "c"]))}
        if params["m.idle"] != "c":
            params["m.depth"] = int(rng.integers(1, 5))
        score = weight * params["m.telling"] + 0.1 * float(rng.random())
        drawn = {path: domains[path] for path in params}
        found.append(TrialRecord(number, "COMPLETE", params, drawn, values=(0.0, score)))
    return found


@pytest.mark.slow
def test_the_setting_that_decides_stands_out_from_chance() -> None:
    found = importances(trials(60), draws=15)
    assert found[0].setting == "m.telling"
    assert {each.setting for each in found if each.told} == {"m.telling"}
    assert sum(each.share for each in found) == pytest.approx(1.0)
    assert all(0 <= each.interval[0] <= each.interval[1] <= 1 for each in found)


def test_nothing_is_said_of_few_trials() -> None:
    assert importances(trials(9)) == ()
    stopped = [TrialRecord(n, "STOPPED", {}, {}, values=(0.5,)) for n in range(20)]
    assert importances(stopped) == ()
