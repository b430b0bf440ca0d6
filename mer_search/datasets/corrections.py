"""Repairs to owners' annotations, each keyed by (data set, subject, clip) and with its source.

Never by row number: owners insert rows. A repair whose clip is missing is a fault, since then the
spreadsheet is not the one that the repair was made for. A cell that no longer holds what the repair
expects is left alone, and that is said.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

Key = tuple[str, str]
"""(subject, clip)."""
FIELDS = ("onset", "apex", "offset", "emotion")


@dataclass(frozen=True)
class Correction:
    """One repair of one cell; `was` and `becomes` are the cell's text."""

    dataset: str
    subject: str
    clip: str
    field: str
    was: str
    becomes: str
    source: str

    @property
    def told(self) -> str:
        """The repair in one sentence."""
        return (
            f"{self.dataset}/{self.subject}/{self.clip}: {self.field} {self.was} -> {self.becomes} "
            f"({self.source})"
        )


@dataclass(frozen=True)
class Outcome:
    """What became of a data set's repairs: sentences for `DataSet`'s fields of these names."""

    corrections: tuple[str, ...]
    notes: tuple[str, ...]
    faults: tuple[str, ...]


@cache
def known() -> tuple[Correction, ...]:
    """All repairs of `corrections.csv`."""
    text = files("mer_search.datasets").joinpath("corrections.csv").read_text("utf-8")
    return tuple(Correction(**row) for row in csv.DictReader(text.splitlines()))


def apply(
    dataset: str,
    cells: Mapping[Key, dict[str, str]],
    *,
    spreadsheet: str,
    repairs: Iterable[Correction] | None = None,
) -> Outcome:
    """Repairs the cells of one data set in place.

    Args:
        cells: (subject, clip) -> field -> text, of every row of the annotation.
        spreadsheet: its file name, for messages.
    """
    done, left, missing = [], [], []
    for repair in known() if repairs is None else repairs:
        if repair.dataset != dataset:
            continue
        row = cells.get((repair.subject, repair.clip))
        if row is None:
            missing.append(
                f"{spreadsheet} has no row {repair.subject}/{repair.clip}, which is to be repaired "
                f"({repair.field} {repair.was} -> {repair.becomes}): it is incomplete or edited; "
                "bring the owner's whole spreadsheet, also for a part of the frames"
            )
        elif row[repair.field] == repair.was:
            row[repair.field] = repair.becomes
            done.append(repair.told)
        else:
            left.append(
                f"{repair.dataset}/{repair.subject}/{repair.clip}: {repair.field} is "
                f"{row[repair.field]!r}, not {repair.was}; left as it is"
            )
    return Outcome(tuple(done), tuple(left), tuple(missing))
