"""The best trials trained again with fresh seeds: which they are, and how much the seed moves them.

Fresh seeds do not undo the choice among trials (the corrected estimate does that); they show the
part of a score that is the luck of one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from mer_search.config import digest_of
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import LosoResult, read_results

BEST = 3
SEED = "train.seed"


@dataclass(frozen=True)
class Confirmed:
    """One of the best trials, again.

    Attributes:
        selected: its score in the search.
        scores: with fresh seeds, so far.
        mean: of `scores`.
        spread: their standard deviation; 0 with one of them.
    """

    number: int
    selected: float
    scores: tuple[float, ...]
    mean: float
    spread: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def told(self, objective: str) -> str:
        return (
            f"trial {self.number}: {objective} {self.selected:.3f} selected, "
            f"{self.mean:.3f} +- {self.spread:.3f} with {len(self.scores)} fresh seeds"
        )


def best(results: Sequence[LosoResult], objective: str) -> list[LosoResult]:
    """The best finished trials of different settings, best first."""
    found: dict[str, LosoResult] = {}
    finished = [result for result in results if result.complete]
    for result in sorted(finished, key=lambda each: -each.scores[objective]):
        found.setdefault(digest_of(_settings(result)), result)
    return list(found.values())[:BEST]


def place(chosen: Sequence[LosoResult]) -> str:
    """Name of the search that trains these trials again, inside their own search's folder."""
    return f"confirm-{digest_of([_settings(each) for each in chosen])[:8]}"


def confirmed(
    ledger: Ledger, results: Sequence[LosoResult], objective: str
) -> tuple[Confirmed, ...]:
    """What fresh seeds say of the best trials; () where they were not trained again."""
    chosen = best(results, objective)
    again = Ledger(f"{ledger.store}/{ledger.name}", place(chosen))
    if not again.exists():
        return ()
    fresh = [result for result in read_results(again) if result.complete]
    found = []
    for trial in chosen:
        scores = tuple(each.scores[objective] for each in fresh
                       if _settings(each) == _settings(trial))  # fmt: skip
        if scores:
            spread = stdev(scores) if len(scores) > 1 else 0.0
            found.append(Confirmed(trial.record.number, trial.scores[objective], scores,
                                   fmean(scores), spread))  # fmt: skip
    return tuple(found)


def _settings(result: LosoResult) -> dict[str, Any]:
    return {path: value for path, value in result.record.params.items() if path != SEED}
