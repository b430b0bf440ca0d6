"""Where every trial of a search stands, fold by fold: what the racing rules look at.

Letters: F folds, P folds of a finished prefix, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from mer_search.loso.ledger import Ledger, TrialRecord
from mer_search.loso.metrics import OBJECTIVES
from mer_search.loso.result import LosoResult, Protocol, read_result
from mer_search.search.racing import (
    Counts,
    Decision,
    Race,
    count_by_fold,
    decide,
    most_promising,
    predictive,
    prefix_score,
)


@dataclass
class Standings:
    """Counts of all trials on the fold order they share.

    Attributes:
        rule: a name of `racing.RULES`.
        counts: finished prefixes [P, C, C] by number: of this launch's trials, of running ones and
            of the incumbent.
        values: the objective after each finished block of every trial, by number.
        finals: objective of the trials with all folds, by number.
    """

    protocol: Protocol
    rule: str
    objective: str
    stop_below: float
    keep: float
    seed: int
    counts: dict[int, Counts] = field(default_factory=dict)
    values: dict[int, tuple[float, ...]] = field(default_factory=dict)
    finals: dict[int, float] = field(default_factory=dict)

    def remember(self, records: Iterable[TrialRecord], ledger: Ledger) -> None:
        """Trials of earlier launches, from their records: only the incumbent's blocks are read."""
        last = len(self.protocol.folds.blocks)
        for record in records:
            self.values[record.number] = record.values
            if record.state == "COMPLETE" and len(record.values) == last:
                self.finals[record.number] = record.values[-1]
            elif record.state == "RUNNING":
                self.add(read_result(ledger, record, self.protocol))
        while (best := self.incumbent) is not None and best not in self.counts:
            record = ledger.trial(best)
            self.add(read_result(ledger, record, self.protocol))
            if len(self.counts.get(best, ())) < len(self.protocol.folds):
                del self.finals[best]  # its blocks are damaged
                self.counts.pop(best, None)

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
        ends = [end for _, end in self.protocol.folds.blocks[:prefix]]
        scores = (prefix_score(counts, end, objective=self.objective) for end in ends)
        self.values[result.record.number] = tuple(scores)
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
        if number not in self.counts:
            return Decision(False, None, "its first block cannot be read")
        own = self.counts[number]
        block = [end for _, end in self.protocol.folds.blocks].index(len(own))
        others = [
            values[block]
            for other, values in self.values.items()
            if other != number and len(values) > block
        ]
        race = replace(self._race(), others=others)
        found = decide(self.rule, own, race)
        if found.stop and found.forecast is None and race.incumbent is not None:
            found = replace(found, forecast=predictive(own, race).forecast)  # the sampler gp asks
        return found

    def most_promising(self, stopped: Iterable[TrialRecord], ledger: Ledger) -> int | None:
        """The stopped trial that shall get its remaining folds; None where none can be read."""
        seen: dict[int, Counts] = {}
        for record in stopped:
            if record.number not in self.counts:  # of an earlier launch
                self.add(read_result(ledger, record, self.protocol))
            if record.number in self.counts:
                seen[record.number] = self.counts[record.number]
        return most_promising(seen, self._race()) if seen else None

    def _race(self) -> Race:
        best = self.incumbent
        return Race(
            incumbent=None if best is None else self.counts[best],
            objective=self.objective,
            stop_below=self.stop_below,
            keep=self.keep,
            seed=self.seed,
        )
