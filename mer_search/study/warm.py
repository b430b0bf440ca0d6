"""Trials of an earlier search that a new one can learn from. Not for running anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mer_search.experiment import Experiment
from mer_search.loso.ledger import TrialRecord

UNCOMPARED = frozenset({"train.seed"})
"""Another seed is the same setting."""


@dataclass(frozen=True)
class CarriedOver:
    """What an earlier search gives.

    Attributes:
        used: its trials, with the parameters that the new space searches.
        dropped: reason -> trials that are of no use for it.
    """

    used: tuple[TrialRecord, ...]
    dropped: dict[str, int]

    def told(self, name: str) -> str:
        lines = [f"{count} dropped: {reason}" for reason, count in self.dropped.items()]
        return "; ".join([f"warm start from {name}: {len(self.used)} trials used", *lines])


def carry_over(old: Experiment, records: Iterable[TrialRecord], new: Experiment) -> CarriedOver:
    """The finished trials of `old` whose settings are a point of `new`'s space."""
    used: list[TrialRecord] = []
    dropped: Counter[str] = Counter()
    for record in records:
        if record.state != "COMPLETE":
            dropped["without all folds"] += 1
            continue
        settings = {**old.fixed, **record.params}
        if reason := next(_outside(settings, new), ""):
            dropped[reason] += 1
            continue
        params = {path: settings[path] for path, _ in new.active(settings)}
        drawn = {path: new.domains[path].as_file() for path in params}
        used.append(TrialRecord(len(used), "COMPLETE", params, drawn, values=record.values[-1:],
                                measured=record.measured, started=record.started,
                                seconds=record.seconds))  # fmt: skip
    return CarriedOver(tuple(used), dict(dropped.most_common()))


def _outside(settings: dict[str, Any], new: Experiment) -> Iterator[str]:
    """Why these settings are no point of the new space."""
    for path, domain in new.active(settings):
        if path not in settings:
            yield f"{path} was not set"
        elif not domain.holds(settings[path]):
            yield f"{path} {settings[path]!r} is outside this space"
    for path, value in new.fixed.items():
        if path in settings and path not in UNCOMPARED and settings[path] != value:
            yield f"{path} was {settings[path]!r}, is {value!r}"
