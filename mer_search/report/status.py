"""Where a search stands: states, folds, best so far, rate, time left. Read from anywhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mer_search.loso.ledger import Ledger, searches
from mer_search.loso.nested import read_nested
from mer_search.loso.result import LosoResult, read_protocol, read_result
from mer_search.report.account import check_exist
from mer_search.report.words import NAMES, STATES, number

RECENT = 50
"""Blocks that the rate looks back over, no further than the last pause of the search."""
PAUSE = 60.0
"""Seconds without a finished block, beyond twice the longest block: nothing was running."""


@dataclass(frozen=True)
class Status:
    """One search now.

    Attributes:
        states: trials by state.
        wanted: trials of the last launch's file.
        folds_done: fold trainings that are finished, of all trials.
        folds: fold trainings of all wanted trials if none is stopped early.
        folds_left: fold trainings to come if no trial is stopped early.
        best: number of the best trial with all folds, with its selected score.
        rate: fold trainings per minute lately; None before the second block.
        seconds_left: at that rate; None when unknown.
        started: seconds since the epoch of the first trial; None without any.
        last: the same of the last finished block.
        reasons: of failed trials, by number.
        damaged: a sentence for each unreadable block.
        outer, outer_scored: outer groups of a nested evaluation, and those that are scored.
    """

    name: str
    states: dict[str, int]
    wanted: int
    folds_done: int
    folds: int
    folds_left: int
    objective: str
    best: int | None
    selected: float | None
    rate: float | None
    seconds_left: float | None
    started: float | None
    last: float | None
    reasons: dict[int, str]
    damaged: tuple[str, ...]
    outer: int = 0
    outer_scored: int = 0

    def as_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


def read(ledger: Ledger) -> Status:
    """The status of a stored search.

    Raises:
        InputError: there is no such search.
        DamagedRecord: search.yaml or folds.json is unreadable.
    """
    check_exist([ledger])
    file, protocol = ledger.search(), read_protocol(ledger)
    results = [read_result(ledger, record, protocol) for record in ledger.trials()]
    objective, folds = file["evaluation"]["objective"], len(protocol.folds)
    # A search that went on has more trials than its file, which is frozen at the first launch.
    wanted = max(int(file["search"]["trials"]), len(results))
    finished = [result for result in results if result.complete]
    best = max(finished, key=lambda r: r.scores[objective], default=None)
    open_trials = [result for result in results if result.record.state == "RUNNING"]
    left = sum(folds - result.folds_done for result in open_trials)
    left += folds * (wanted - len(results))
    ends = _ends(results, protocol.folds.blocks)
    rate, nested = _rate(ends), read_nested(ledger, objective)
    return Status(
        name=ledger.name,
        states={state: sum(r.record.state == state for r in results) for state in STATES},
        wanted=wanted,
        folds_done=sum(result.folds_done for result in results),
        folds=folds * wanted,
        folds_left=left,
        objective=objective,
        best=best.record.number if best else None,
        selected=best.scores[objective] if best else None,
        rate=rate,
        seconds_left=60 * left / rate if rate and left else None,
        started=min((r.record.started for r in results if r.record.started), default=None),
        last=ends[-1][0] if ends else None,
        reasons={r.record.number: r.record.reason for r in results if r.record.state == "FAILED"},
        damaged=tuple(sentence for result in results for sentence in result.damaged),
        outer=len(nested.groups) if nested else 0,
        outer_scored=nested.scored if nested else 0,
    )


def read_all(store: str) -> list[Status]:
    """Every search of a store."""
    return [read(Ledger(store, name)) for name in searches(store)]


def _ends(
    results: Sequence[LosoResult], bounds: Sequence[tuple[int, int]]
) -> list[tuple[float, float, int]]:
    """(finished, seconds, folds) of every block in order of time.

    A repeated proposal holds copies of another trial's blocks, which cost nothing: left out.
    """
    found = {
        (block.finished, index): (
            block.finished,
            block.seconds,
            bounds[index][1] - bounds[index][0],
        )
        for result in results
        for index, block in result.blocks.items()
    }
    return sorted(found.values())


def _rate(ends: Sequence[tuple[float, float, int]]) -> float | None:
    """Folds per minute over the last blocks since the last pause; blocks run side by side."""
    recent = list(ends[-RECENT:])
    for place in reversed(range(1, len(recent))):
        longest = max(seconds for _, seconds, _ in recent[place - 1 :])
        if recent[place][0] - recent[place - 1][0] > 2 * longest + PAUSE:
            recent = recent[place:]
            break
    if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
        return None
    return 60 * sum(folds for _, _, folds in recent[1:]) / (recent[-1][0] - recent[0][0])


def table(found: list[Status], store: str) -> RenderableType:
    """One line per search."""
    if not found:
        return Text(f"no search in {store}; start one with `mer-search launch quickstart`")
    rows = Table(box=None, pad_edge=False)
    for column in ("search", *STATES.values(), "of", "best", "last block"):
        rows.add_column(column)
    for each in found:
        states = (str(each.states[state]) for state in STATES)
        cells = (each.name, *states, str(each.wanted), _best(each), _ago(each.last))
        rows.add_row(*map(Text, cells))
    return rows


def page(found: Status) -> RenderableType:
    """One search in a few lines."""
    states = ", ".join(f"{found.states[s]} {word}" for s, word in STATES.items() if found.states[s])
    rate = f"{found.rate:.1f} folds/min" if found.rate else "rate not known yet"
    left = f"about {_span(found.seconds_left)} left" if found.seconds_left else "time left unknown"
    begun, done = sum(found.states.values()), f"{found.folds_done} of {found.folds} folds done"
    told: dict[str, list[str]] = {}
    for trial, reason in found.reasons.items():
        told.setdefault(reason, []).append(str(trial))
    lines = [
        f"{found.name}: {begun} of {found.wanted} trials begun ({states or 'none'})",
        f"{done}, {found.folds_left} to come at most; {rate}, "
        f"{left if found.folds_left else 'nothing left'}",
        f"best so far: {_best(found)}",
        f"first trial: {_ago(found.started)}; last block: {_ago(found.last)}",
        *(
            [f"nested: {found.outer_scored} of {found.outer} outer groups are scored"]
            if found.outer
            else []
        ),
        *(f"failed: trial {', '.join(those)}: {reason}" for reason, those in told.items()),
        *(f"damaged record: {sentence}" for sentence in found.damaged),
    ]
    return Group(*map(Text, lines))


def _best(found: Status) -> str:
    if found.best is None:
        return "none has all folds yet"
    score = f"{NAMES[found.objective]} {number(found.selected)}"
    return f"trial {found.best}, {score}, selected (optimistic)"


def _ago(moment: float | None) -> str:
    return "never" if moment is None else f"{_span(time.time() - moment)} ago"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{value} {unit}" for value, unit in parts if value][:2]
    return " ".join(shown) or "0 s"
