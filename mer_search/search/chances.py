"""Second chances: what racing stopped and may still be the best is trained to its end, last of all.

Not a racing rule. They are given when no trial is left to propose, so that no proposal depends on
them; the book keeps one back for every trial that is still in its race.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mer_search.config import digest_of
from mer_search.loso.folds import Folds
from mer_search.loso.ledger import Ledger, TrialRecord
from mer_search.search.standings import Standings

MARK = "second_chance"
"""Among a record's sampler attributes: folds after which racing had stopped the trial."""


def is_second(record: TrialRecord) -> bool:
    """Whether the trial has its second chance or had it: its race is over."""
    return MARK in record.sampler


@dataclass
class SecondChances:
    """The second chances of one search.

    Attributes:
        most: how many there shall be in all, those of earlier launches counted.
        records: of all trials by number, kept up to date by the owner.
        begun: how many this launch gave.
    """

    most: int
    records: Mapping[int, TrialRecord]
    standings: Standings
    ledger: Ledger
    begun: int = 0

    def left(self, *, more_may_stop: bool) -> int:
        """How many may still be given; what is not stopped yet may be before long."""
        if not self.most:
            return 0
        left = max(0, self.most - sum(map(is_second, self.records.values())))
        return left if more_may_stop else min(left, len(self._stopped()))

    def next(self, folds: Folds) -> TrialRecord | None:
        """The most promising stopped trial as it goes on; None where none can be read."""
        number = self.standings.most_promising(self._stopped(), self.ledger)
        if number is None:
            return None
        self.begun += 1
        record = self.records[number]
        done = folds.blocks[len(record.values) - 1][1]
        told = f"stopped after {done} folds ({record.reason}), then given a second chance"
        return replace(record, state="RUNNING", reason="", notes=(*record.notes, told),
                       sampler={**record.sampler, MARK: done})  # fmt: skip

    def _stopped(self) -> list[TrialRecord]:
        """Trials that racing stopped; a constraint stops a trial before its first block."""
        records = self.records.values()
        goes = {digest_of(each.params) for each in records if each.state in ("COMPLETE", "RUNNING")}
        found = []
        for each in records:
            if each.state == "STOPPED" and each.values:
                if (settings := digest_of(each.params)) not in goes:  # twice the same is one chance
                    found.append(each)
                goes.add(settings)
        return found
