"""Where every trial of a search stands, fold by fold: what the racing rules look at.

Letters: F folds, P folds of a finished prefix, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mer_search.loso.metrics import OBJECTIVES
from mer_search.loso.result import LosoResult, Protocol
from mer_search.search.racing import Counts, Decision, Race, count_by_fold, decide, prefix_score


@dataclass
class Standings:
    """Counts of all trials on the fold order they share.

    Attributes:
        rule: a name of `racing.RULES`.
        counts: of each trial's finished prefix [P, C, C], by number.
        finals: objective of the trials with all folds, by number.
    """

    protocol: Protocol
    rule: str
    objective: str
    stop_below: float
    seed: int
    counts: dict[int, Counts] = field(default_factory=dict)
    finals: dict[int, float] = field(default_factory=dict)

    def add(self, result: LosoResult) -> None:
        """What a trial has predicted so far; only its unbroken prefix of blocks counts."""
        prefix = 0
        while prefix in result.blocks:
            prefix += 1
        if not prefix:
            return
        stop = self.protocol.folds.blocks[prefix - 1][1]
        # Clips without a prediction are NaN, which argmax would pick: they are in no counted fold.
        predicted = np.nan_to_num(result.probs, nan=-1.0).argmax(1)
        counts = count_by_fold(
            predicted, self.protocol.label, self.protocol.folds.held_out[:stop],
            classes=len(self.protocol.classes),
        )  # fmt: skip
        self.counts[result.record.number] = counts
        if stop == len(self.protocol.folds):
            final = float(OBJECTIVES[self.objective](counts.sum(0)))
            self.finals[result.record.number] = final

    @property
    def incumbent(self) -> int | None:
        """The best trial with all folds; the earliest of equals."""
        if not self.finals:
            return None
        return max(sorted(self.finals), key=lambda number: self.finals[number])

    def judge(self, number: int) -> Decision:
        """Whether the trial's remaining folds are worth training."""
        own, best = self.counts[number], self.incumbent
        others = [
            prefix_score(counts, len(own), objective=self.objective)
            for other, counts in self.counts.items()
            if other != number and len(counts) >= len(own)
        ]
        race = Race(
            incumbent=None if best is None else self.counts[best],
            others=others,
            objective=self.objective,
            stop_below=self.stop_below,
            seed=self.seed,
        )
        return decide(self.rule, own, race)
