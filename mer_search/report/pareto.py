"""Trials that no other one beats in every objective, where a search has several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mer_search.report.account import Search

SMALLER = frozenset({"seconds", "parameters"})
"""Objectives of which less is better."""


def front(search: Search) -> list[dict[str, Any]] | None:
    """`{"number", NAME: value, ...}` of unbeaten finished trials, best first; None with one
    objective."""
    names = objectives(search)
    if len(names) < 2:
        return None
    rows = [
        {"number": result.record.number, **{name: _value(result, name) for name in names}}
        for result in search.finished
    ]
    gains = [[-row[name] if name in SMALLER else row[name] for name in names] for row in rows]
    kept = [row for row, stays in zip(rows, unbeaten(gains), strict=True) if stays]
    return sorted(kept, key=lambda row: (-row[names[0]], row["number"]))


def unbeaten(gains: Sequence[Sequence[float]]) -> list[bool]:
    """Which rows of [M, objectives], larger being better, no other row dominates."""
    table = np.asarray(gains, float)
    return [not bool(((table >= own).all(1) & (table > own).any(1)).any()) for own in table]


def objectives(search: Search) -> tuple[str, ...]:
    """All objectives, the one that ranks first."""
    return (search.objective, *search.file["evaluation"].get("beside", ()))


def table(search: Search) -> Group | None:
    """The front for a terminal, its title as wide as it likes."""
    rows = front(search)
    if rows is None:
        return None
    names = objectives(search)
    found = Table(box=None, pad_edge=False)
    for name in ("trial", *names):
        found.add_column(name, justify="right")
    for row in rows:
        cells = [f"{row[name]:.3f}" if abs(row[name]) < 10 else f"{row[name]:.0f}"
                 for name in names]  # fmt: skip
        found.add_row(str(row["number"]), *cells)
    return Group(Text("Pareto front: no trial is better in " + " and ".join(names)), found)


def _value(result: Any, name: str) -> float:
    if name in result.scores:
        return float(result.scores[name])
    return float({"seconds": result.record.seconds, **result.record.measured}[name])
