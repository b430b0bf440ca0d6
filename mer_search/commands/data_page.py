"""What a reader found, drawn on one offline page. Not for what a search found: see `report`.

N clips; bars per subject, lengths, and each clip's onset, apex and offset as a strip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import plotly.graph_objects as go

from mer_search.datasets import Clip, DataSet
from mer_search.errors import InputError
from mer_search.report.elements import element, table
from mer_search.report.page import offline
from mer_search.report.plots import escape
from mer_search.report.sections import json_of

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a8f98")
"""Told apart by the colour-blind (Okabe, Ito)."""
SHAPES = ("", "/", "x", ".", "\\", "-", "|")
"""Say in bars what colour says."""
STRIP, HIGHEST = 4, 1600
"""Pixels per strip, and of all strips at most."""


def write(found: DataSet, file: Path) -> None:
    """Writes the page; about 5 MB, most of it Plotly.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        file.write_text(render(found), encoding="utf-8")
    except OSError as problem:
        raise InputError(
            file, f"cannot be written ({problem.strerror}); name a file in a folder that exists"
        ) from problem


def render(found: DataSet) -> str:
    """The text of the page."""
    plots: dict[str, Any] = {}
    title = f"{found.reader}: {len(found.clips)} clips of {len(found.subjects)} subjects"
    body = element("main", element("h1", title), list(_content(found, plots)))
    return offline(f"{title} - mer-search data check", body, plots)


def _content(found: DataSet, plots: dict[str, Any]) -> Iterator[Element]:
    yield element(
        "p",
        f"Annotation {found.version}, boundaries {found.boundaries}. Digest {found.digest}.",
        class_="soft",
    )
    yield from _sentences("Faults", found.faults, "No faults: every annotated clip can be used.")
    yield from _sentences("Repairs that were applied", found.corrections, "")
    yield from _sentences("Notes", found.notes, "")
    if not found.clips:
        return
    yield element("h2", "Clips per class")
    yield _counts(found)
    pictures = (
        ("Clips per subject", _subjects(found),
         "Each bar is a subject, each colour and pattern a class. Large bars weigh most in pooled "
         "scores; a subject of one class makes a fold of one class."),
        ("Lengths", _lengths(found),
         "Frames per clip by class. More key frames than a clip has frames need interpolation."),
        ("Onset, apex, offset", _strips(found),
         "One line per clip from onset to offset, shortest at the bottom; its mark is the "
         "annotated "
         "apex. Frames count from the clip's first."),
    )  # fmt: skip
    for number, (title, figure, told) in enumerate(pictures):
        place = f"plot-{number}"
        plots[place] = json_of(figure)
        yield element("h2", title)
        yield element(
            "figure",
            element("div", id=place, class_="plot", role="img", aria_label=told,
                    style=f"height:{figure.layout.height}px"),
            element("figcaption", told),
        )  # fmt: skip
    yield from _clips(found)


def _sentences(title: str, told: Iterable[str], none: str) -> Iterator[Element]:
    items = [element("li", sentence) for sentence in told]
    if items:
        yield element("h2", f"{title} ({len(items)})")
        yield element("ul", items)
    elif none:
        yield element("p", none)


def _counts(found: DataSet) -> Element:
    """Classes down, data sets across."""
    sets = sorted({clip.dataset for clip in found.clips})
    counts = Counter((clip.dataset, clip.label) for clip in found.clips)
    heads = ["class", *sets, *(["all"] if len(sets) > 1 else [])]
    rows = [
        [name, *(str(counts[each, name]) for each in sets),
         *([str(found.counts[name])] if len(sets) > 1 else [])]
        for name in found.classes
    ]  # fmt: skip
    return table(heads, rows, caption="Clips that can be used.")


def _figure(height: int, **layout: Any) -> go.Figure:
    shared = {"template": None, "margin": {"l": 64, "r": 24, "t": 36, "b": 64}, "height": height,
              "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0}}  # fmt: skip
    return go.Figure(layout={**shared, **layout})


def _subjects(found: DataSet) -> go.Figure:
    counts = Counter((clip.dataset, clip.subject, clip.label) for clip in found.clips)
    several = len({dataset for dataset, _ in found.subjects}) > 1
    names = [escape(f"{d}/{s}" if several else s) for d, s in found.subjects]
    figure = _figure(420, barmode="stack")
    for number, label in enumerate(found.classes):
        figure.add_bar(
            x=names, y=[counts[d, s, label] for d, s in found.subjects], name=escape(label),
            marker={"color": COLOURS[number % len(COLOURS)],
                    "pattern": {"shape": SHAPES[number % len(SHAPES)], "size": 6}},
        )  # fmt: skip
    figure.update_yaxes(title="clips")
    figure.update_xaxes(type="category", tickangle=-60, automargin=True)
    return figure


def _lengths(found: DataSet) -> go.Figure:
    figure = _figure(120 + 44 * len(found.classes), showlegend=False)
    for number, label in enumerate(found.classes):
        clips = [clip for clip in found.clips if clip.label == label]
        figure.add_box(
            x=[len(clip.frames) for clip in clips], name=escape(label), boxpoints="all",
            text=[escape(clip.key) for clip in clips], marker={"size": 4, "opacity": 0.6},
            jitter=0.5, pointpos=0, orientation="h",
            line={"color": COLOURS[number % len(COLOURS)], "width": 1},
            hovertemplate="%{text}: %{x} frames<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="frames", rangemode="tozero")
    figure.update_yaxes(automargin=True)
    return figure


def _strips(found: DataSet) -> go.Figure:
    ordered = sorted(found.clips, key=lambda clip: (len(clip.frames), clip.key))
    figure = _figure(min(HIGHEST, 160 + STRIP * len(ordered)))
    for number, label in enumerate(found.classes):
        rows = [(row, clip) for row, clip in enumerate(ordered) if clip.label == label]
        _add_strips(figure, label, COLOURS[number % len(COLOURS)], rows)
    figure.update_xaxes(title="frame", rangemode="tozero")
    figure.update_yaxes(showticklabels=False, title="clips", range=[-1, len(ordered)])
    return figure


def _add_strips(figure: go.Figure, label: str, colour: str, rows: list[tuple[int, Clip]]) -> None:
    """One class: lines broken by None, so that hundreds of clips are one trace."""
    x: list[int | None] = []
    y: list[int | None] = []
    told: list[str | None] = []
    for row, clip in rows:
        last = len(clip.frames) - 1
        x += [clip.onset or 0, last if clip.offset is None else clip.offset, None]
        y += [row, row, None]
        told += [escape(clip.key)] * 2 + [None]
    figure.add_scatter(
        x=x, y=y, text=told, mode="lines", name=escape(label), legendgroup=label,
        line={"color": colour, "width": 2}, hovertemplate="%{text}: %{x}<extra></extra>",
    )  # fmt: skip
    apexes = [(row, clip) for row, clip in rows if clip.apex is not None]
    figure.add_scatter(
        x=[clip.apex for _, clip in apexes], y=[row for row, _ in apexes], mode="markers",
        text=[escape(clip.key) for _, clip in apexes], showlegend=False, legendgroup=label,
        marker={"color": colour, "symbol": "diamond", "size": 6},
        hovertemplate="%{text}: apex %{x}<extra></extra>",
    )  # fmt: skip


def _clips(found: DataSet) -> Iterator[Element]:
    """Every clip; heads sort, the field above filters."""
    shown = ("onset", "apex", "offset")
    rows = (
        [clip.key, clip.label, str(len(clip.frames)),
         *("-" if (at := getattr(clip, name)) is None else str(at) for name in shown)]
        for clip in found.clips
    )  # fmt: skip
    made = table(["clip", "class", "frames", *shown], rows, id="clips", class_="sortable",
                 caption="Positions count from the clip's first frame.")  # fmt: skip
    yield element("h2", "All clips")
    yield element(
        "label", "Show clips with ", element("input", type="search", data_filters="clips")
    )
    yield element("div", made, class_="scroll", tabindex=0, role="region",
                  aria_label="Clips, scrolls")  # fmt: skip
