"""Where a search stands: states, folds, best so far, rate, time left. Read from anywhere."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mer_search.loso.ledger import Ledger, searches
from mer_search.loso.result import read_results

RECENT = 600.0
"""Seconds that the rate looks back from the last finished block."""


@dataclass(frozen=True)
class Status:
    """One search now.

    Attributes:
        states: trials by state.
        wanted: trials of the last launch's file.
        folds_done: fold trainings that are finished, of all trials.
        folds_left: fold trainings to come if no trial is stopped early.
        best: number of the best trial with all folds, with its selected score.
        rate: fold trainings per minute lately; None before the second block.
        seconds_left: at that rate; None when unknown.
        last: seconds since the epoch of the last finished block.
        reasons: of failed trials, by number.
    """

    name: str
    states: dict[str, int]
    wanted: int
    folds_done: int
    folds_left: int
    objective: str
    best: int | None
    selected: float | None
    rate: float | None
    seconds_left: float | None
    last: float | None
    reasons: dict[int, str]

    def as_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


def read(ledger: Ledger) -> Status:
    """The status of a stored search."""
    file, results = ledger.search(), read_results(ledger)
    objective, wanted = file["evaluation"]["objective"], int(file["search"]["trials"])
    folds = len(results[0].protocol.folds) if results else 0
    states: Counter[str] = Counter(result.record.state for result in results)
    finished = [result for result in results if result.complete]
    best = max(finished, key=lambda r: r.scores[objective], default=None)
    open_trials = [result for result in results if result.record.state == "RUNNING"]
    left = sum(folds - result.folds_done for result in open_trials)
    left += folds * max(0, wanted - len(results))
    bounds = results[0].protocol.folds.blocks if results else ()
    ends = sorted(
        (block.finished, bounds[index][1] - bounds[index][0])
        for result in results
        for index, block in result.blocks.items()
    )
    rate = _rate(ends)
    return Status(
        name=ledger.name,
        states=dict(states),
        wanted=max(wanted, len(results)),
        folds_done=sum(result.folds_done for result in results),
        folds_left=left,
        objective=objective,
        best=best.record.number if best else None,
        selected=best.scores[objective] if best else None,
        rate=rate,
        seconds_left=60 * left / rate if rate and left else None,
        last=ends[-1][0] if ends else None,
        reasons={r.record.number: r.record.reason for r in results if r.record.state == "FAILED"},
    )


def read_all(store: str) -> list[Status]:
    """Every search of a store."""
    return [read(Ledger(store, name)) for name in searches(store)]


def _rate(ends: list[tuple[float, int]]) -> float | None:
    """Folds per minute over the last `RECENT` seconds of work; blocks run side by side."""
    recent = [end for end in ends if end[0] >= ends[-1][0] - RECENT]
    if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
        return None
    return 60 * sum(folds for _, folds in recent[1:]) / (recent[-1][0] - recent[0][0])


def table(found: list[Status], store: str) -> RenderableType:
    """One line per search."""
    if not found:
        return Text(f"no search in {store}; start one with `mer-search launch quickstart`")
    rows = Table(box=None, pad_edge=False)
    for column in ("search", "done", "stopped", "failed", "unfinished", "of", "best", "last block"):
        rows.add_column(column)
    for each in found:
        states = (each.states.get(s, 0) for s in ("COMPLETE", "STOPPED", "FAILED", "RUNNING"))
        rows.add_row(each.name, *map(str, states), str(each.wanted), _best(each), _ago(each.last))
    return rows


def page(found: Status) -> RenderableType:
    """One search in a few lines."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(found.states.items()))
    rate = f"{found.rate:.1f} folds/min" if found.rate else "rate not known yet"
    left = f"about {_span(found.seconds_left)} left" if found.seconds_left else "time left unknown"
    lines = [
        f"{found.name}: {sum(found.states.values())} of {found.wanted} trials ({states or 'none'})",
        f"{found.folds_done} folds done, {found.folds_left} to come at most; {rate}, "
        f"{left if found.folds_left else 'nothing left'}",
        f"best so far: {_best(found)}",
        f"last block: {_ago(found.last)}",
        *(f"trial {number} failed: {reason}" for number, reason in found.reasons.items()),
    ]
    return Group(*map(Text, lines))


def _best(found: Status) -> str:
    if found.best is None:
        return "none has all folds yet"
    return f"trial {found.best}, {found.objective} {found.selected:.3f}, selected"


def _ago(moment: float | None) -> str:
    return "never" if moment is None else f"{_span(time.time() - moment)} ago"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{value} {unit}" for value, unit in parts if value][:2]
    return " ".join(shown) or "0 s"
