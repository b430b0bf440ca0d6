"""What a paper needs of a comparison: LaTeX tables, figures as PDF and SVG, a methods paragraph.

Not for new numbers: everything is in `compare --json` as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mer_search.errors import InputError
from mer_search.report import words
from mer_search.report.account import Search
from mer_search.report.compare import Comparison
from mer_search.report.contract import per_class, per_dataset
from mer_search.report.methods import methods

STILL = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Without their dates the same comparison gives the same files."""


def write(found: Comparison, folder: Path) -> None:
    """Writes `scores.tex`, `classes.tex`, `methods.txt`, and two figures per search.

    Raises:
        InputError: no search has a trial with all folds.
    """
    searches = [search for search in found.searches if search.best]
    if not searches:
        raise InputError("--paper", "no trial has all folds yet; there is nothing to print")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.tex").write_text(scores_table(searches), encoding="utf-8")
    (folder / "classes.tex").write_text(classes_table(searches), encoding="utf-8")
    told = [methods(search) for search in searches] + [pair.words + "." for pair in found.pairs]
    (folder / "methods.txt").write_text("\n\n".join(told) + "\n", encoding="utf-8")
    for search in searches:
        for name, figure in (("confusion", confusion(search)), ("trials", trials(search))):
            for kind, metadata in STILL.items():
                figure.savefig(folder / f"{search.name}-{name}.{kind}", metadata=metadata)


def scores_table(searches: Sequence[Search]) -> str:
    """Selected, corrected and nested scores with intervals, then the winner by data set."""
    rows = []
    for search in searches:
        rows += [f"{_tex(search.name)} & {cells}" for cells in _scores(search)]
        parts = per_dataset(search)
        rows += [
            f"{_tex(search.name)} & {_tex(name)}, selected & {_three(part)} & "
            for name, part in (parts.items() if len(parts) > 1 else ())
        ]
    note = (
        "Selected: scores of the trial that they chose (optimistic). Corrected: BBC pooled over "
        "subjects. Nested: the whole search repeated without each outer group. Intervals: "
        f"95\\,\\% of {words.NAMES[searches[0].objective]}, jackknife over subjects."
    )
    return _table("llcccc", ("Search", "Score", "UF1", "UAR", "Accuracy", "Interval"), rows, note)


def _scores(search: Search) -> Iterator[str]:
    """One line of cells per kind of score."""
    estimate = search.estimate
    assert estimate is not None
    for kind, scores, ends in (
        ("selected", estimate.selected, estimate.selected_interval),
        ("corrected", estimate.corrected, estimate.interval),
    ):
        yield f"{kind} & {_three(scores)} & {words.interval(ends)}"
    if search.nested and (score := search.nested.interval):
        yield f"nested & {_three(search.nested.scores)} & {words.interval(score.interval)}"


def _three(scores: dict[str, float]) -> str:
    return " & ".join(words.number(scores[name]) for name in words.NAMES)


def classes_table(searches: Sequence[Search]) -> str:
    """Clips, recall, precision and F1 of each class, by each search's best trial."""
    rows = [
        f"{_tex(search.name)} & {_tex(name)} & {row['clips']} & "
        + " & ".join(words.number(row[key]) for key in ("recall", "precision", "f1"))
        for search in searches
        for name, row in per_class(search).items()
    ]
    heads = ("Search", "Class", "Clips", "Recall", "Precision", "F1")
    return _table("llrccc", heads, rows, "Best trial, counts pooled over folds (selected).")


def _table(columns: str, heads: Sequence[str], rows: Sequence[str], note: str) -> str:
    """A tabular in the form of the package booktabs, with a note below."""
    lines = [
        "% \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        " & ".join(heads) + r" \\",
        "\\midrule",
        *(f"{row} \\\\" for row in rows),
        "\\bottomrule",
        f"\\multicolumn{{{len(heads)}}}{{p{{.9\\linewidth}}}}{{\\footnotesize {note}}} \\\\",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    """Text whose signs mean nothing to TeX."""
    text = text.replace("\\", "\\textbackslash ")
    for sign in "&%$#_{}":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("~", "\\textasciitilde ").replace("^", "\\textasciicircum ")


def confusion(search: Search) -> Figure:
    """Pooled counts of the best trial, truth by row, the share of the true class as grey."""
    counts, names = search.confusion(), search.protocol.classes
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    figure = Figure(figsize=(1.5 + 0.7 * len(names), 1.2 + 0.6 * len(names)), layout="tight")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=9)
    totals = [f"{name} ({n})" for name, n in zip(names, counts.sum(1), strict=True)]
    axes.set_yticks(range(len(names)), totals, fontsize=9)
    axes.set(xlabel="predicted", ylabel="true (clips)")
    return figure


def trials(search: Search) -> Figure:
    """Score of each finished trial in order, the best so far, and the corrected interval."""
    key, estimate = search.objective, search.estimate
    assert estimate is not None
    figure = Figure(figsize=(4.6, 2.9), layout="tight")
    axes = figure.subplots()
    numbers = [result.record.number for result in search.finished]
    scores = [result.scores[key] for result in search.finished]
    axes.plot(numbers, scores, "o", ms=3, color="#0072B2", label="trial, all folds")
    axes.step(numbers, np.maximum.accumulate(scores), where="post", color="#D55E00", ls="--",
              label="best so far (selected)")  # fmt: skip
    axes.axhspan(*estimate.interval, color="#0072B2", alpha=0.12, lw=0)
    axes.axhline(estimate.corrected[key], color="#0072B2", lw=1, label="corrected, 95 % interval")
    axes.set(xlabel="trial", ylabel=words.NAMES[key])
    axes.legend(fontsize=7, frameon=False)
    return figure
