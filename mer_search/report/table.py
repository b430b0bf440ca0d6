"""A comparison in a terminal: the verdict, the leaderboard, and what to do for publication."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mer_search.loso.result import LosoResult
from mer_search.report.account import Search
from mer_search.report.compare import Comparison

SHOWN = 20
STATES = {"COMPLETE": "done", "STOPPED": "stopped", "FAILED": "failed", "RUNNING": "unfinished"}


def render(found: Comparison, *, width: int = 80) -> RenderableType:
    """Everything about one search, or several with their differences, for a terminal's width."""
    parts: list[RenderableType] = []
    for search in found.searches:
        apart = 60 + sum(len(short(name)) + 4 for name in varied(search)) <= width
        parts += [leaderboard(search, apart=apart), Text("\n".join(sentences(search))), Text("")]
    parts += [Text(pair.words) for pair in found.pairs]
    if found.union:
        e = found.union.estimate
        parts.append(Text(
            f"best of all {e.finished} finished trials: {e.objective} "
            f"{e.selected[e.objective]:.3f} selected, {e.corrected[e.objective]:.3f} "
            f"{_interval(e.interval)} corrected"
        ))  # fmt: skip
    return Group(*parts)


def leaderboard(search: Search, *, limit: int = SHOWN, apart: bool = False) -> Table:
    """Finished trials first, best on top; partial scores stand in brackets.

    Args:
        limit: rows at most.
        apart: a column per setting; else one column that fits a narrow terminal.
    """
    order = sorted(search.results, key=lambda r: (not r.complete, -_score(r, search.objective)))
    names = varied(search)
    table = Table(title=f"{search.name}: trials by {search.objective}", box=None, pad_edge=False,
                  title_justify="left")  # fmt: skip
    for column in ("trial", "state", "folds", "uf1", "uar", "accuracy"):
        justify: Literal["left", "right"] = "left" if column == "state" else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for column in map(short, names) if apart else ["settings"]:
        table.add_column(column)
    for result in order[:limit]:
        values = {name: _value(result.record.params.get(name)) for name in names}
        told = ", ".join(f"{short(k)} {v}" for k, v in values.items() if v != "-")
        table.add_row(*_row(result, search), *(values.values() if apart else [told]))
    if len(order) > limit:
        table.caption = f"and {len(order) - limit} more; --json holds all"
    return table


def sentences(search: Search) -> Iterator[str]:
    """What the numbers mean, a sentence each."""
    protocol = search.protocol
    yield (
        f"{len(protocol.keys)} clips of {len(set(protocol.subject))} subjects, "
        f"{len(protocol.classes)} classes, pooled over {len(protocol.folds)} folds"
    )
    states = [result.record.state for result in search.results]
    counts = ", ".join(f"{states.count(s)} {word}" for s, word in STATES.items() if s in states)
    yield f"{len(states)} trials: {counts or 'none yet'}"
    e, best = search.estimate, search.best
    if e is None or best is None:
        yield "no trial has all folds yet, so there is no best one"
    else:
        objective = e.objective
        yield (
            f"best: trial {best.record.number}, {objective} {e.selected[objective]:.3f} "
            f"{_interval(e.selected_interval)} - selected, optimistic: this score chose it"
        )
        yield (
            f"corrected: {objective} {e.corrected[objective]:.3f} {_interval(e.interval)}, "
            f"the score to expect on new subjects ({e.level:.0%} interval); {e.caveats[0]}"
        )
        yield from e.caveats[1:]
        yield f"chance: uf1 {search.chance():.3f} for guesses as frequent as this trial's"
        yield from _recalls(search)
        yield (
            "for publication: nested evaluation, which repeats the whole search per outer group "
            f"of subjects (5 groups: about {5 * len(search.results)} trials)"
        )
    for result in search.results:
        if result.record.state == "FAILED":
            yield f"trial {result.record.number} failed: {result.record.reason}"
    yield from (f"damaged record: {sentence}" for sentence in search.damaged)


def varied(search: Search) -> list[str]:
    """Parameters in which trials differ."""
    values: dict[str, set[str]] = {}
    for result in search.results:
        for path, value in result.record.params.items():
            values.setdefault(path, set()).add(repr(value))
    missing = {p for p in values for r in search.results if p not in r.record.params}
    return [path for path, seen in values.items() if len(seen) > 1 or path in missing]


def _recalls(search: Search) -> Iterator[str]:
    counts = search.confusion()
    told = (
        f"{name} {counts[row, row]}/{counts[row].sum()}"
        for row, name in enumerate(search.protocol.classes)
    )
    yield f"right per class: {', '.join(told)}"


def _row(result: LosoResult, search: Search) -> list[str]:
    record = result.record
    marks = "*" if search.best is result else ""
    scores = [result.scores.get(name) for name in ("uf1", "uar", "accuracy")]
    told = ["-" if s is None else f"{s:.3f}" if result.complete else f"({s:.3f})" for s in scores]
    return [
        f"{marks}{record.number}", STATES[record.state],
        f"{result.folds_done}/{len(result.protocol.folds)}", *told,
    ]  # fmt: skip


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def short(path: str) -> str:
    """`features.keyframes.count` -> `keyframes.count`; `model.lstm_size` -> `lstm_size`."""
    return ".".join(path.split(".")[1:])


def _score(result: LosoResult, objective: str) -> float:
    return result.scores.get(objective, -1.0)


def _interval(ends: tuple[float, float]) -> str:
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]"
