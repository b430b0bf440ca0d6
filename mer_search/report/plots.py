"""The plots of the report, as Plotly figures. Nothing is decided here.

Colours, fonts and background come from the page's style, for light, dark and paper. What colour
says is also said by symbol, line or word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mer_search.loso.result import LosoResult
from mer_search.report import words
from mer_search.report.account import Search
from mer_search.report.contract import per_subject

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8a8f98"  # told apart by the colour-blind (Okabe, Ito)
SCALE = [[0, "#f7fbff"], [0.6, "#9ecae1"], [1, "#08306b"]]
COLUMNS = 3
CURVES = 100
"""Curves of a kind at most: more are a grey area, and a file too large to send."""
FEW = 8
"""So many different numbers at most are drawn as groups."""


def new_figure(height: int, **layout: Any) -> go.Figure:
    """An empty figure of this height in pixels, in the report's form."""
    shared = {"template": None, "margin": {"l": 64, "r": 24, "t": 36, "b": 56}, "height": height,
              "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0}}  # fmt: skip
    return go.Figure(layout={**shared, **layout})


def worth(searches: Sequence[Search]) -> go.Figure:
    """Selected, corrected and nested scores with their intervals, and chance, of each search."""
    rows: list[tuple[str, str, float, tuple[float, float]]] = []
    for search in searches:
        found, name = search.estimate, f"{escape(search.name)}: " if len(searches) > 1 else ""
        if found is None:
            continue
        key = found.objective
        level = search.chances[key]
        if search.nested and (outer := search.nested.interval):
            rows.append((f"{name}nested", "nested", outer.value, outer.interval))
        rows += [
            (f"{name}corrected", "corrected", found.corrected[key], found.interval),
            (f"{name}selected", "selected", found.selected[key], found.selected_interval),
            (f"{name}chance", "chance", level, (level, level)),
        ]
    figure = new_figure(80 + 34 * len(rows), showlegend=False)
    figure.update_layout(margin_t=8)
    marks = {"corrected": (BLUE, "diamond"), "selected": (ORANGE, "circle-open"),
             "chance": (GREY, "x"), "nested": ("#009E73", "square")}  # fmt: skip
    for label, kind, score, (low, high) in rows:
        colour, symbol = marks[kind]
        figure.add_scatter(
            x=[score], y=[label], mode="markers", marker={"color": colour, "symbol": symbol,
            "size": 12, "line": {"width": 2}}, hovertemplate=f"{label} {words.number(score)} "
            f"{words.interval((low, high))}<extra></extra>", error_x={"type": "data",
            "symmetric": False, "array": [high - score], "arrayminus": [score - low],
            "color": colour, "thickness": 2},
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(range=[0, 1], title=words.NAMES[searches[0].objective])
    return figure


def in_order(search: Search) -> go.Figure:
    """Score of each trial in order, with the best so far; stopped trials at their partial score."""
    figure = new_figure(380)
    stopped = [r for r in search.results if r.scores and not r.complete]
    _points(figure, search, search.finished, name="all folds", color=BLUE, symbol="circle")
    _points(figure, search, stopped, name="partial: folds done so far", color=GREY, symbol="x-thin")
    numbers = [result.record.number for result in search.finished]
    if numbers:
        best = np.maximum.accumulate([r.scores[search.objective] for r in search.finished])
        figure.add_scatter(
            x=numbers, y=best.tolist(), mode="lines", name="best so far (selected)",
            line={"color": ORANGE, "shape": "hv", "dash": "dash"}, hoverinfo="skip",
        )  # fmt: skip
    few = len(search.results) <= 12  # Plotly would write halves of trials
    figure.update_xaxes(title="trial", dtick=1 if few else None)
    figure.update_yaxes(title=words.NAMES[search.objective])
    return figure


def _points(figure: go.Figure, search: Search, results: Sequence[LosoResult], *, name: str,
            color: str, symbol: str) -> None:  # fmt: skip
    figure.add_scatter(
        x=[result.record.number for result in results],
        y=[result.scores[search.objective] for result in results],
        mode="markers", name=name, text=[_told(search, result) for result in results],
        marker={"color": color, "symbol": symbol, "size": 8, "line": {"width": 1, "color": color}},
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def settings(search: Search) -> go.Figure | None:
    """A small plot per setting in which finished trials differ: score against value."""
    short = words.short_names(words.varied(search))
    wide = {p: [r for r in search.finished if p in r.record.params] for p in short}
    shown = {p: rows for p, rows in wide.items() if rows}
    if not shown:
        return None
    lines = -(-len(shown) // COLUMNS)
    titles = [escape(short[path]) for path in shown]
    figure = make_subplots(lines, COLUMNS, subplot_titles=titles, shared_yaxes=True,
                           vertical_spacing=0.26 / lines, horizontal_spacing=0.05)  # fmt: skip
    layout = new_figure(70 + 250 * lines, showlegend=False).layout
    figure.update_layout(layout)
    for place, (path, results) in enumerate(shown.items()):
        line, column = place // COLUMNS + 1, place % COLUMNS + 1
        _setting(figure, search, path, results, {"row": line, "col": column})
    for line in range(1, lines + 1):
        figure.update_yaxes(title=words.NAMES[search.objective], row=line, col=1)
    return figure


def _setting(figure: go.Figure, search: Search, path: str, results: list[LosoResult],
             place: dict[str, int]) -> None:  # fmt: skip
    """Boxes with their points for words and few numbers, points for a range; the best starred."""
    values = [result.record.params[path] for result in results]
    scores = [result.scores[search.objective] for result in results]
    # Only the number and the value: all settings in every small plot would make the file huge.
    told = [
        escape(f"trial {result.record.number}: {words.number(score)} at {words.value(value)}")
        for result, score, value in zip(results, scores, values, strict=True)
    ]
    ranged = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    ranged = ranged and len(set(values)) > FEW
    shared = {"y": scores, "text": told, "hovertemplate": "%{text}<extra></extra>"}
    if ranged:
        dot = {"color": BLUE, "size": 6, "opacity": 0.7}
        figure.add_scatter(x=values, mode="markers", marker=dot, **shared, **place)
        domain = results[0].record.distributions.get(path, {})
        if isinstance(domain, dict) and domain.get("log"):
            figure.update_xaxes(type="log", dtick=1, exponentformat="power", **place)
    else:
        labels = [escape(str(v)) for v in values]
        figure.add_box(
            x=labels, boxpoints="all", jitter=0.5, pointpos=0, marker={"color": BLUE, "size": 5,
            "opacity": 0.7}, line={"color": GREY, "width": 1}, fillcolor="rgba(0,0,0,0)",
            **shared, **place,
        )  # fmt: skip
        order = [escape(str(v)) for v in sorted(set(values), key=lambda v: (isinstance(v, str), v))]
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=order, **place)
    if search.best in results:
        at = results.index(search.best)
        x = values[at] if ranged else escape(str(values[at]))
        star = {
            "color": ORANGE,
            "size": 14,
            "symbol": "star",
            "line": {"width": 1, "color": "white"},
        }
        figure.add_scatter(
            x=[x], y=[scores[at]], mode="markers", marker=star, text=[f"best: {told[at]}"],
            hovertemplate="%{text}<extra></extra>", **place,
        )  # fmt: skip


def confusion(search: Search, dataset: str | None = None) -> go.Figure:
    """Confusion matrix of the best trial: counts, with the share of the true class as colour.

    Args:
        dataset: its clips alone; all clips if not given.
    """
    counts = search.confusion(dataset)
    names = [escape(name) for name in search.protocol.classes]
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    cells = [[f"{n}<br>{share:.0%}" for n, share in zip(*row, strict=True)]
             for row in zip(counts, shares, strict=True)]  # fmt: skip
    totals = [f"{name} ({n})" for name, n in zip(names, counts.sum(1), strict=True)]
    figure = new_figure(150 + 62 * len(names))
    figure.add_heatmap(
        z=shares.tolist(), x=names, y=totals, text=cells, texttemplate="%{text}",
        colorscale=SCALE, zmin=0, zmax=1,
        xgap=2, ygap=2, colorbar={"title": {"text": "recall"}, "tickformat": ".0%"},
        hovertemplate="true %{y}<br>predicted %{x}<br>%{text} of the class<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="predicted", automargin=True, showgrid=False)
    figure.update_yaxes(title="true (clips)", autorange="reversed", automargin=True, showgrid=False)
    return figure


def subjects(search: Search) -> go.Figure:
    """Right and wrong clips of each subject by the best trial, hardest subject first."""
    rows = per_subject(search)
    names = [escape(row["subject"]) for row in rows]
    right = [row["right"] for row in rows]
    wrong = [row["clips"] - row["right"] for row in rows]
    told = [f"{name}: {row['right']} of {row['clips']} right ({row['right'] / row['clips']:.0%})"
            for name, row in zip(names, rows, strict=True)]  # fmt: skip
    figure = new_figure(400, barmode="stack")
    shared = {"x": names, "hovertext": told, "hovertemplate": "%{hovertext}<extra></extra>"}
    figure.add_bar(y=right, name="right", marker={"color": BLUE}, **shared)
    figure.add_bar(
        y=wrong, name="wrong", marker={"color": ORANGE, "pattern": {"shape": "/", "size": 6}},
        **shared,
    )  # fmt: skip
    figure.update_xaxes(title="subject, lowest share right first", tickangle=-60, automargin=True,
                        type="category", dtick=1, tickfont={"size": 10})  # fmt: skip
    figure.update_yaxes(title="clips")
    return figure


def curves(search: Search) -> go.Figure:
    """Pooled score after each block of folds; the winner thick, stopped trials dotted.

    Of many trials the `CURVES` best finished ones, and of the others those with most folds.
    """
    others = [r for r in search.ranked if r.blocks and not r.complete]
    groups: dict[str, tuple[list[LosoResult], dict[str, Any]]] = {
        "all folds": (list(search.ranked[1 : len(search.finished)][:CURVES]), {"color": GREY}),
        "stopped or unfinished": (others[:CURVES], {"color": ORANGE, "dash": "dot"}),
        "best": ([search.best] if search.best else [], {"color": BLUE, "width": 4}),
    }  # fmt: skip
    figure = new_figure(400)
    for name, (results, line) in groups.items():
        x: list[int | None] = []
        y: list[float | None] = []
        told: list[str] = []
        for result in results:
            for folds, scores, _ in result.curve():
                x.append(folds)
                y.append(round(scores[search.objective], 4))
                told.append(f"trial {result.record.number}")
            x.append(None)  # lifts the pen between trials
            y.append(None)
            told.append("")
        figure.add_scatter(
            x=x, y=y, text=told, mode="lines+markers", name=name, line={"width": 1, **line},
            marker={"size": 4}, hovertemplate="%{text}: %{y:.3f} after %{x} folds<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="folds done")
    figure.update_yaxes(title=f"{words.NAMES[search.objective]}, pooled so far")
    return figure


def _told(search: Search, result: LosoResult) -> str:
    """Number, score, folds and settings for hovering."""
    score = words.number(result.scores[search.objective])
    lines = [f"trial {result.record.number}: {words.NAMES[search.objective]} {score}, "
             f"{result.folds_done}/{search.folds} folds"]  # fmt: skip
    params = result.record.params
    short = words.short_names(params)
    lines += [f"{short[path]} {words.value(value)}" for path, value in params.items()]
    return "<br>".join(map(escape, lines))


def escape(text: str) -> str:
    """Plotly renders some HTML in labels; names are no HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
