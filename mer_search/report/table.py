"""A comparison in a terminal: the leaderboard, then what its numbers mean, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mer_search.loso.metrics import OBJECTIVES
from mer_search.loso.result import LosoResult
from mer_search.report import pareto, words
from mer_search.report.account import Search
from mer_search.report.compare import BestOfAll, Comparison
from mer_search.report.contract import per_dataset

SHOWN = 20
"""Rows of a leaderboard in a terminal."""


def render(found: Comparison, *, width: int = 80) -> RenderableType:
    """Everything about one search, or several with their differences, for a terminal's width."""
    parts: list[RenderableType] = []
    for search in found.searches:
        parts += [leaderboard(search, width=width)]
        parts += [Text(""), unbeaten] if (unbeaten := pareto.table(search)) else []
        parts += [Text("\n".join(sentences(search))), Text("")]
    parts += [Text("\n".join(verdicts(found)))] if len(found.searches) > 1 else []
    return Group(*parts)


def leaderboard(search: Search, *, limit: int = SHOWN, width: int = 80) -> Table:
    """Finished trials by rank, the best marked by a word; then the others, not ranked.

    Args:
        limit: rows at most.
        width: a column per setting where it is enough for that, else one column for all.
    """
    names = words.short_names(words.varied(search))
    apart = 58 + sum(max(len(name), 8) + 2 for name in names.values()) <= width
    table = Table(title=f"{search.name}: trials by {words.NAMES[search.objective]}", box=None,
                  pad_edge=False, title_justify="left", caption_justify="left")  # fmt: skip
    for column in ("rank", "trial", "state", "folds", *words.NAMES.values(), "seconds"):
        justify: Literal["left", "right"] = "left" if column in ("rank", "state") else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for column in names.values() if apart else ["settings"]:
        table.add_column(column)
    for rank, result in enumerate(search.ranked[:limit], start=1):
        values = {short: words.value(result.record.params.get(p)) for p, short in names.items()}
        told = ", ".join(f"{name} {text}" for name, text in values.items() if text != "-")
        cells = [*row(result, rank), *(values.values() if apart else [told])]
        table.add_row(*map(Text, cells))
    table.caption = Text(_below(search, limit))
    return table


def row(result: LosoResult, rank: int) -> list[str]:
    """Rank, trial, state, folds, scores (partial ones in brackets) and seconds."""
    record = result.record
    place = (f"{rank} best" if rank == 1 else str(rank)) if result.complete else "-"
    scores = [result.scores.get(name) for name in OBJECTIVES]
    told = [words.number(s) if result.complete or s is None else f"({words.number(s)})"
            for s in scores]  # fmt: skip
    folds = f"{result.folds_done}/{len(result.protocol.folds)}"
    seconds = f"{record.seconds:.0f}"
    return [place, str(record.number), words.STATES[record.state], folds, *told, seconds]


def _below(search: Search, limit: int) -> str:
    """What the table leaves out, and what brackets mean."""
    parts = []
    if (more := len(search.results) - limit) > 0:
        parts.append(f"and {more} more trials; --json or --html shows all")
    if any(result.blocks and not result.complete for result in search.ranked[:limit]):
        parts.append("(in brackets: over the folds done only, not ranked)")
    return "; ".join(parts)


def sentences(search: Search) -> Iterator[str]:
    """What the numbers mean; what was selected is never said without what it is worth."""
    yield f"{words.header(search)}."
    yield f"{words.trials(search)}."
    yield words.selected(search)
    if search.best is not None:
        yield words.corrected(search)
        yield from words.nested(search)
        yield words.optimism(search)
        yield words.chance(search)
        yield words.recalls(search)
        yield from datasets(search)
    yield from words.caveats(search)
    yield from words.troubles(search)
    for trial in search.confirmed:
        yield f"Fresh seeds, {trial.told(words.NAMES[search.objective])}."
    if search.best is not None and search.nested is None:
        yield words.publication(search)


def datasets(search: Search) -> Iterator[str]:
    """The best trial's scores in each of several data sets."""
    parts = per_dataset(search)
    if len(parts) > 1:
        told = "; ".join(
            f"{name} "
            + " ".join(f"{words.NAMES[key]} {words.number(row[key])}" for key in OBJECTIVES)
            for name, row in parts.items()
        )
        yield f"By data set (selected): {told}."


def verdicts(found: Comparison) -> Iterator[str]:
    """Whether one search is better than another, and the best of all."""
    many = f" (Holm, {len(found.pairs)} pairs)" if len(found.pairs) > 1 else ""
    for pair in found.pairs:
        yield f"{pair.a} against {pair.b}: {pair.words}, {words.p_value(pair.p)}{many}"
    empty = [search.name for search in found.searches if search.best is None]
    if empty:
        yield f"Not compared, no trial with all folds: {', '.join(empty)}."
    if found.union:
        yield best_of_all(found.union)


def best_of_all(union: BestOfAll) -> str:
    e = union.estimate
    key = e.objective
    chose, worth = words.number(e.selected[key]), words.number(e.corrected[key])
    return (
        f"Best of all {e.finished} finished of {union.trials} trials: {union.search} trial "
        f"{union.number}, {words.NAMES[key]} {chose} selected (optimistic), {worth} "
        f"{words.interval(e.interval)} corrected for the choice among all of them."
    )
