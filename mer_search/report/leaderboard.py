"""Searches of rival models side by side: what each is worth, costs, and what others published.

The comparison itself is `compare`'s; here it is one table. Not for running anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mer_search.loso.ledger import Ledger
from mer_search.report import table, words
from mer_search.report.account import Search
from mer_search.report.compare import Comparison, compare
from mer_search.report.contract import per_dataset, worth
from mer_search.report.cost import spent
from mer_search.report.published import Published, like

NOTE = (
    "Published figures were not measured here: other features, other code, and often another "
    "selection. One selected on the test subject is no estimate of anything."
)


@dataclass(frozen=True)
class Leaderboard:
    """What `leaderboard` shows.

    Attributes:
        comparison: of all searches, two by two, corrected by Holm.
        published: figures for the same classes and folds.
    """

    comparison: Comparison
    published: tuple[Published, ...]

    @property
    def ranked(self) -> list[Search]:
        """Searches by the corrected objective, those without a finished trial last."""
        return sorted(self.comparison.searches, key=lambda each: -_worth(each))

    def as_json(self) -> dict[str, Any]:
        pairs, union = self.comparison.pairs, self.comparison.union
        return {
            "objective": self.comparison.searches[0].objective,
            "rivals": [_row(each) for each in self.ranked],
            "pairs": [pair.as_json() for pair in pairs],
            "union": union.as_json() if union else None,
            "published": [row.as_json() for row in self.published],
            "note": NOTE,
        }


def read(ledgers: Sequence[Ledger]) -> Leaderboard:
    """Compares the searches and finds what was published for their protocol.

    Raises:
        InputError: as `compare.compare`, for searches on other data, classes or objectives.
    """
    found = compare(ledgers)
    first = found.searches[0]
    return Leaderboard(found, like(first.protocol, str(first.file["evaluation"]["folds"])))


def _worth(search: Search) -> float:
    return search.estimate.corrected[search.objective] if search.estimate else -1.0


def _row(search: Search) -> dict[str, Any]:
    """One search: its winner, what it is worth, and what it cost."""
    scores: dict[str, Any] = {"selected": None, "corrected": None}
    if search.estimate:
        scores = worth(search.estimate, len(search.results))
    return {
        "search": search.name,
        "model": search.file["model"]["name"],
        "number": search.best.record.number if search.best else None,
        "trials": len(search.results),
        "finished": len(search.finished),
        "selected": scores["selected"],
        "corrected": scores["corrected"],
        "datasets": per_dataset(search),
        "folds": sum(result.folds_done for result in search.results),
        "seconds": spent(search),
    }


def render(found: Leaderboard) -> RenderableType:
    """The table, the published figures beside it, and who is better than whom."""
    first = found.comparison.searches[0]
    parts: list[RenderableType] = [Text(f"{words.header(first)}."), _rivals(found), Text("")]
    parts += [Text("\n".join(table.verdicts(found.comparison)))]
    if found.published:
        parts += [Text(""), _published(found.published), Text("\n".join(_notes(found)))]
    return Group(*parts)


def _rivals(found: Leaderboard) -> Table:
    name = words.NAMES[found.comparison.searches[0].objective]
    shown = Table(title=f"Rivals by corrected {name}", box=None, pad_edge=False,
                  title_justify="left")  # fmt: skip
    columns = ("rival", "trials", f"{name} selected", f"{name} corrected", "interval (95%)",
               "UAR corrected", "folds", "seconds")  # fmt: skip
    for column in columns:
        shown.add_column(column, justify="left" if column == "rival" else "right", no_wrap=True)
    for search in found.ranked:
        e, key = search.estimate, search.objective
        cells = ["-"] * 4
        if e:
            cells = [words.number(e.selected[key]), words.number(e.corrected[key]),
                     words.interval(e.interval), words.number(e.corrected["uar"])]  # fmt: skip
        folds = sum(result.folds_done for result in search.results)
        trials = f"{len(search.finished)}/{len(search.results)}"
        shown.add_row(search.name, trials, *cells, str(folds), f"{spent(search):.0f}")
    return shown


def _published(rows: Sequence[Published]) -> Table:
    shown = Table(title="Published for these classes and folds", box=None, pad_edge=False,
                  title_justify="left")  # fmt: skip
    for column in ("method", "year", "clips", "UF1", "UAR", "selected on", "source"):
        shown.add_column(column, justify="right" if column in ("UF1", "UAR", "clips") else "left")
    for row in rows:
        scores = [words.number(row.scores.get(name)) for name in ("uf1", "uar")]
        shown.add_row(Text(row.method), str(row.year or "-"), str(row.clips), *scores,
                      Text(row.selected_on), Text(row.source))  # fmt: skip
    return shown


def _notes(found: Leaderboard) -> Iterator[str]:
    """What keeps our numbers and the published ones apart."""
    here = len(found.comparison.searches[0].protocol.keys)
    others = {row.clips for row in found.published} - {here}
    if others:
        told = ", ".join(map(str, sorted(others)))
        yield f"Here {here} clips were scored; published rows over {told} are of other clips."
    yield NOTE
