"""What a search has cost, and what a nested one would cost. Not for scores."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from mer_search.report.account import Search

OUTER_GROUPS = 5
"""Outer groups of the nested evaluation that is recommended."""


@dataclass(frozen=True)
class NestedCost:
    """The whole search once per outer group of subjects, each on the remaining subjects.

    Attributes:
        folds: of one inner trial.
        trainings: folds x trials x outer groups.
        hours: of one worker at this search's mean time per fold; None without a finished block.
    """

    outer_groups: int
    trials: int
    folds: int
    trainings: int
    hours: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def nested_cost(account: Search) -> NestedCost:
    """Without racing's savings, since nobody knows them beforehand."""
    subjects = len(set(account.protocol.subject))
    outer = min(OUTER_GROUPS, subjects)
    protocol = str(account.file["evaluation"]["folds"])
    group = re.fullmatch(r"group-(\d+)", protocol)
    folds = int(group[1]) if group else subjects - -(-subjects // outer)
    if protocol == "lodo":
        folds = len({dataset for dataset, _ in account.protocol.subject})
    trials = len(account.results)
    trainings = folds * trials * outer
    done = sum(result.folds_done for result in account.results)
    seconds = spent(account)
    hours = trainings * seconds / done / 3600 if done else None
    return NestedCost(outer, trials, folds, trainings, hours)


def spent(account: Search) -> float:
    """Seconds of all blocks that can be read, added over workers."""
    return sum(block.seconds for result in account.results for block in result.blocks.values())
