"""The plots of the report, as Plotly figures. Numbers come from `compare`; nothing is decided."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from mer_search.report.account import Search

BLUE, GREY, DARK = "#2a6f97", "#9aa5b1", "#1f2933"
LAYOUT = {
    "template": "plotly_white", "height": 360, "margin": {"l": 60, "r": 20, "t": 30, "b": 60},
    "font": {"color": DARK, "size": 13}, "legend": {"orientation": "h", "y": 1.12},
}  # fmt: skip


def progress(search: Search) -> go.Figure:
    """Score of every finished trial in order, and the best so far."""
    objective, finished = search.objective, search.finished
    numbers = [result.record.number for result in finished]
    scores = [result.scores[objective] for result in finished]
    params = ["<br>".join(f"{k}: {v}" for k, v in _plain(r.record.params).items())
              for r in finished]  # fmt: skip
    figure = go.Figure(layout=LAYOUT)
    figure.add_scatter(
        x=numbers, y=scores, mode="markers", name="trial", text=params,
        marker={"color": BLUE, "size": 9}, hovertemplate="trial %{x}: %{y:.3f}<br>%{text}",
    )  # fmt: skip
    figure.add_scatter(
        x=numbers, y=np.maximum.accumulate(scores), mode="lines", name="best so far (selected)",
        line={"color": GREY, "shape": "hv"},
    )  # fmt: skip
    if search.estimate:
        low, high = search.estimate.interval
        figure.add_hrect(y0=low, y1=high, fillcolor=BLUE, opacity=0.12, line_width=0)
        figure.add_hline(
            y=search.estimate.corrected[objective], line={"color": BLUE, "dash": "dash"},
            annotation_text="corrected, with interval",
        )  # fmt: skip
    figure.update_xaxes(title="trial")
    figure.update_yaxes(title=objective)
    return figure


def curves(search: Search) -> go.Figure:
    """Pooled score after each block, every trial; the best one drawn dark."""
    figure = go.Figure(layout=LAYOUT)
    for result in search.results:
        points, best = result.curve(), result is search.best
        figure.add_scatter(
            x=[folds for folds, _, _ in points],
            y=[scores[search.objective] for _, scores, _ in points],
            mode="lines+markers", name=f"trial {result.record.number}", showlegend=False,
            line={"color": BLUE if best else GREY, "width": 3 if best else 1},
            hovertemplate=f"trial {result.record.number}, %{{x}} folds: %{{y:.3f}}",
        )  # fmt: skip
    figure.update_xaxes(title="folds done")
    figure.update_yaxes(title=f"{search.objective}, pooled so far")
    return figure


def confusion(search: Search) -> go.Figure:
    """Confusion matrix of the best trial, shares of the true class as colour."""
    counts, classes = search.confusion(), [escape(name) for name in search.protocol.classes]
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    figure = go.Figure(layout=LAYOUT)
    figure.add_heatmap(
        z=shares, x=classes, y=classes, text=counts, texttemplate="%{text}", colorscale="Blues",
        zmin=0, zmax=1, showscale=False,
        hovertemplate="true %{y}, predicted %{x}: %{text} clips (%{z:.0%})<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="predicted")
    figure.update_yaxes(title="true", autorange="reversed")
    return figure


def subjects(search: Search) -> go.Figure:
    """Share of right clips of the best trial, subject by subject, largest first."""
    assert search.best is not None
    protocol, right = search.protocol, search.best.probs.argmax(1) == search.protocol.label
    names = sorted(set(protocol.subject))
    own = {name: [i for i, each in enumerate(protocol.subject) if each == name] for name in names}
    names.sort(key=lambda name: -len(own[name]))
    figure = go.Figure(layout=LAYOUT)
    figure.add_bar(
        x=[escape("/".join(name)) for name in names],
        y=[float(np.mean(right[own[name]])) for name in names],
        customdata=[[int(right[own[name]].sum()), len(own[name])] for name in names],
        marker={"color": BLUE},
        hovertemplate="%{x}: %{customdata[0]} of %{customdata[1]} clips right<extra></extra>",
    )
    figure.update_xaxes(title="subject, most clips first")
    figure.update_yaxes(title="share of clips right", range=[0, 1])
    return figure


def parameters(search: Search, paths: list[str]) -> go.Figure:
    """Parallel coordinates of the finished trials."""
    dimensions = []
    for path in paths:
        values = [result.record.params.get(path) for result in search.finished]
        label = escape(path.rpartition(".")[2])
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            dimensions.append({"label": label, "values": values})
        else:
            words = sorted({str(v) for v in values})
            dimensions.append({
                "label": label, "values": [words.index(str(v)) for v in values],
                "tickvals": list(range(len(words))),
                "ticktext": ["-" if word == "None" else escape(word) for word in words],
            })  # fmt: skip
    scores = [result.scores[search.objective] for result in search.finished]
    dimensions.append({"label": search.objective, "values": scores})
    line = {"color": scores, "colorscale": "Viridis", "showscale": True}
    layout = {**LAYOUT, "margin": {"l": 90, "r": 60, "t": 60, "b": 30}}
    return go.Figure(go.Parcoords(dimensions=dimensions, line=line), layout=layout)


def _plain(params: dict[str, object]) -> dict[str, str]:
    return {
        escape(path.rpartition(".")[2]): f"{v:.3g}" if isinstance(v, float) else escape(str(v))
        for path, v in params.items()
    }


def escape(text: str) -> str:
    """Plotly renders some HTML in labels; names are no HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
