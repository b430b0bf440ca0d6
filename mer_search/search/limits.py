"""When a launch has spent what it may: `search.max_hours` and `search.max_folds`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from mer_search.config import Search
from mer_search.loso.folds import Folds
from mer_search.loso.ledger import TrialRecord


@dataclass
class Limits:
    """What was spent.

    Attributes:
        folds: fold trainings of the whole search, those of earlier launches counted.
        begun: monotonic seconds; hours are counted anew in each launch.
    """

    search: Search
    folds: int = 0
    begun: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, search: Search, records: Iterable[TrialRecord], folds: Folds) -> Limits:
        """From the trials so far; those answered from the ledger trained nothing."""
        trained = [
            folds.blocks[len(record.values) - 1][1]
            for record in records
            if record.values and (record.seconds or record.state == "RUNNING")
        ]
        return cls(search, sum(trained))

    @property
    def reached(self) -> str:
        """The limit that ends the search and how to go on; empty while there is none."""
        hours, most = self.search.max_hours, self.search.max_folds
        if most is not None and self.folds >= most:
            trained = f"{self.folds} folds trained"
            return f"search.max_folds {most} is reached ({trained}); raise it to go on"
        if hours is not None and time.monotonic() - self.begun >= 3600 * hours:
            return f"search.max_hours {hours:g} is reached; the same command goes on for as long"
        return ""
