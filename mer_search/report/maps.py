"""The report's pictures over all trials, subjects, regions or keyframes. Nothing is decided here.

The others, of scores, are in `plots`.
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
from mer_search.report.attention import Attention
from mer_search.report.plots import BLUE, FEW, GREY, ORANGE, SCALE, escape, new_figure
from mer_search.study.importance import Importance

TRIALS = 60
"""Trials of the subject map, and lines of parallel coordinates, at most: the best ones."""
LINES = 200


def importance(found: Sequence[Importance]) -> go.Figure:
    """Share of each setting with its interval; a cross where chance alone may reach."""
    short = words.short_names(each.setting for each in found)
    names = [escape(short[each.setting]) for each in found]
    figure = new_figure(90 + 34 * len(names))
    told = [
        f"{name}: {each.share:.0%}, {each.interval[0]:.0%} to {each.interval[1]:.0%}; by chance "
        f"up to {each.chance:.0%}"
        for name, each in zip(names, found, strict=True)
    ]
    shared = {"y": names, "text": told, "hovertemplate": "%{text}<extra></extra>"}
    figure.add_scatter(
        x=[each.share for each in found], mode="markers", name="importance",
        marker={"color": BLUE, "symbol": "diamond", "size": 11},
        error_x={"type": "data", "symmetric": False, "color": BLUE, "thickness": 2,
                 "array": [max(0.0, each.interval[1] - each.share) for each in found],
                 "arrayminus": [max(0.0, each.share - each.interval[0]) for each in found]},
        **shared,
    )  # fmt: skip
    figure.add_scatter(
        x=[each.chance for each in found], mode="markers", name="reached by chance",
        marker={"color": ORANGE, "symbol": "x-thin", "size": 10,
                "line": {"width": 2, "color": ORANGE}},
        **shared,
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(range=[0, 1.02], title="share of importance", tickformat=".0%")
    return figure


def parallel(search: Search) -> go.Figure | None:
    """Finished trials as lines over all settings and the score; None below two settings.

    Lines of a scatter, since Plotly's own parallel coordinates need WebGL, which many remote
    desktops lack. A click in the legend hides a fifth of the trials.
    """
    results = search.ranked[: len(search.finished)][:LINES]
    short = words.short_names(words.varied(search))
    if len(short) < 2 or len(results) < 2:
        return None
    axes = [_axis([r.record.params.get(path) for r in results]) for path in short]
    axes.append(_axis([r.scores[search.objective] for r in results]))
    names = [*map(escape, short.values()), words.NAMES[search.objective]]
    figure = new_figure(440, hovermode="closest")
    figure.update_layout(margin={"l": 40, "r": 60, "t": 80, "b": 24}, legend_y=1.12)
    shares = ("best fifth", "second", "third", "fourth", "last fifth")
    colours = ("#440154", "#3b528b", "#21918c", "#5ec962", "#bdbf32")  # viridis, dark is better
    cuts = [round(len(results) * fifth / 5) for fifth in range(6)]
    for fifth in reversed(range(5)):
        rows = range(cuts[fifth], cuts[fifth + 1])
        _lines(figure, axes, results, rows, name=shares[fifth],
               line={"color": colours[fifth], "width": 1.2})  # fmt: skip
    _lines(figure, axes, results, range(1), name="best", line={"color": ORANGE, "width": 4})
    for place, (name, (_, ticks)) in enumerate(zip(names, axes, strict=True)):
        figure.add_vline(x=place, line={"color": GREY, "width": 1})
        figure.add_annotation(x=place, y=1.06, text=f"<b>{name}</b>", showarrow=False)
        for height, told in ticks.items():
            figure.add_annotation(x=place, y=height, text=told, showarrow=False, xanchor="left",
                                  xshift=4, font={"size": 11})  # fmt: skip
    figure.update_xaxes(visible=False, range=[-0.15, len(axes) - 0.6])
    figure.update_yaxes(visible=False, range=[-0.05, 1.1])
    return figure


def _lines(
    figure: go.Figure,
    axes: Sequence[tuple[list[float], dict[float, str]]],
    results: Sequence[LosoResult],
    rows: range,
    *,
    name: str,
    line: dict[str, Any],
) -> None:
    """One trace with a line per trial of `rows`, the pen lifted between them."""
    x: list[int | None] = []
    y: list[float | None] = []
    told: list[str] = []
    for row in rows:
        x += [*range(len(axes)), None]
        y += [*(round(heights[row], 3) for heights, _ in axes), None]
        told += [f"trial {results[row].record.number}"] * (len(axes) + 1)
    figure.add_scatter(x=x, y=y, text=told, name=name, mode="lines", line=line,
                       hovertemplate="%{text}<extra></extra>")  # fmt: skip


def _axis(values: Sequence[Any]) -> tuple[list[float], dict[float, str]]:
    """Heights of the values between 0 and 1, and what is written at some heights.

    Numbers to scale (logarithms where they span most of a decade), words evenly, nothing lowest.
    """
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values) or len(set(values)) <= FEW:
        order = sorted(set(values), key=lambda v: (v is not None, isinstance(v, str), v or 0))
        step = 1 / max(1, len(order) - 1)
        place = {v: row * step for row, v in enumerate(order)}
        return [place[v] for v in values], {h: escape(words.value(v)) for v, h in place.items()}
    scaled = np.asarray(numbers, float)
    log = scaled.min() > 0 and scaled.max() / scaled.min() >= 8
    scaled = np.log10(scaled) if log else scaled
    low, high = float(scaled.min()), float(scaled.max())
    ticks = np.linspace(low, high, 5)
    told = {float((t - low) / (high - low)): f"{10**t if log else t:.2g}" for t in ticks}
    return ((scaled - low) / (high - low)).tolist(), told


def subjects_by_trials(search: Search) -> go.Figure:
    """Share right of each subject by each of the best trials: who is hard for all of them."""
    best = search.ranked[: len(search.finished)][:TRIALS]
    protocol = search.protocol
    names = sorted(set(protocol.subject))
    row = np.array([names.index(each) for each in protocol.subject])
    clips = np.bincount(row)
    right = np.stack([np.bincount(row, r.probs.argmax(1) == protocol.label) for r in best], 1)
    share = right / clips[:, None]
    order = np.lexsort((np.arange(len(names)), share.mean(1)))
    labels = [f"{escape('/'.join(names[s]))} ({clips[s]})" for s in order]
    figure = new_figure(max(240, 130 + 17 * len(names)))
    figure.add_heatmap(
        z=np.round(share[order], 3).tolist(), y=labels, x=[str(r.record.number) for r in best],
        customdata=right[order].astype(int).tolist(), colorscale=SCALE, zmin=0, zmax=1, xgap=1,
        ygap=1, colorbar={"title": {"text": "right"}, "tickformat": ".0%"},
        hovertemplate="%{y}, trial %{x}: %{customdata} right (%{z:.0%})<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="trial, best first", type="category", showgrid=False)
    figure.update_yaxes(
        title="subject (clips), hardest first", autorange="reversed", automargin=True,
        showgrid=False, dtick=1, tickfont={"size": 10},
    )  # fmt: skip
    return figure


def temporal(found: Attention) -> go.Figure:
    """Mean weight of each keyframe, a line per class; the dotted line is equal weights."""
    assert found.temporal is not None
    keyframes = found.temporal.shape[1]
    at = list(range(1, keyframes + 1))
    figure = new_figure(360)
    colours = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", GREY)
    symbols = ("circle", "square", "diamond", "x", "triangle-up", "star", "cross")
    for c, name in enumerate(found.classes):
        figure.add_scatter(
            x=at, y=found.temporal[c].tolist(), name=f"{escape(name)} ({found.clips[c]})",
            mode="lines+markers", line={"color": colours[c % 7], "width": 2},
            marker={"symbol": symbols[c % 7], "size": 9},
            hovertemplate="keyframe %{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    figure.add_scatter(x=at, y=[1 / keyframes] * keyframes, name="equal", mode="lines",
                       line={"color": GREY, "dash": "dot"}, hoverinfo="skip")  # fmt: skip
    figure.update_xaxes(title="keyframe, in order of time", dtick=1)
    figure.update_yaxes(title="mean weight", rangemode="tozero")
    return figure


def spatial(found: Attention) -> go.Figure:
    """Mean weight of each region of the face, a grid per class, one colour scale for all."""
    assert found.spatial is not None
    side = found.side
    titles = [f"{escape(name)} ({n})" for name, n in zip(found.classes, found.clips, strict=True)]
    lines = -(-len(titles) // 3)
    figure = make_subplots(lines, 3, subplot_titles=titles, horizontal_spacing=0.04,
                           vertical_spacing=0.12 / lines)  # fmt: skip
    figure.update_layout(new_figure(60 + 270 * lines).layout)
    top = float(found.spatial.max())
    for c in range(len(titles)):
        grid = found.spatial[c].reshape(side, side)
        figure.add_heatmap(
            z=np.round(grid, 4).tolist(), zmin=0, zmax=top, colorscale=SCALE, xgap=1, ygap=1,
            showscale=c == 0, colorbar={"title": {"text": "weight"}}, row=c // 3 + 1,
            col=c % 3 + 1, texttemplate="%{z:.2f}" if side <= 4 else "",
            hovertemplate="row %{y}, column %{x}: %{z:.3f}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed", constrain="domain", scaleanchor="x")
    for c in range(len(titles)):
        axis = "" if c == 0 else str(c + 1)
        figure.update_yaxes(scaleanchor=f"x{axis}", row=c // 3 + 1, col=c % 3 + 1)
    return figure
