"""Key frames of one clip with the model's attention, as a picture. Not for deciding anything.

Letters: K keyframes, R regions, S pixels of a face image.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mer_search.errors import InputError
from mer_search.export.model import Prediction

ACROSS = 8
"""Key frames in a row; more go on below, so that 128 of them stay a picture one can open."""
BAR = "#2a6f97"
TOP, BOTTOM = 0.75, 0.35  # inches for title and caption


def write(found: Prediction, file: Path) -> None:
    """Writes faces in a row with the spatial attention laid over, the temporal one as bars below.

    Raises:
        InputError: a file that cannot be written, or whose ending is no picture format.
    """
    count = len(found.keyframes)
    across, heights = min(count, ACROSS), [1.0, 0.4] if found.temporal_attention else [1.0]
    rows = -(-count // across)
    figure, cells = _sheet(rows, max(across, 4), heights)
    for place, (face, *bar) in enumerate(cells):
        if place < count:
            _face(face, found, place)
        for axes in bar if place < count else ():
            _bar(axes, found.temporal_attention, place)
        for axes in (face, *bar) if place >= count else ():
            axes.axis("off")
    _titles(figure, found)
    try:
        figure.savefig(file, dpi=130)
    except (ValueError, OSError) as fault:
        raise InputError(file, f"cannot be written ({fault}); name a .png, .svg or .pdf") from fault


def _sheet(rows: int, across: int, heights: list[float]) -> tuple[Figure, list[list[Axes]]]:
    """A figure and, for each place on it in reading order, its axes: a face, and a bar below."""
    width, height = 1.55 * across, TOP + BOTTOM + 1.75 * rows * sum(heights)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    grid = figure.subplots(
        rows * len(heights), across, squeeze=False, height_ratios=heights * rows,
        gridspec_kw={"left": 0.01, "right": 0.99, "wspace": 0.04, "hspace": 0.2,
                     "top": 1 - TOP / height, "bottom": BOTTOM / height},
    )  # fmt: skip
    step = len(heights)
    return figure, [
        list(grid[row * step : (row + 1) * step, column])
        for row in range(rows)
        for column in range(across)
    ]


def _face(axes: Axes, found: Prediction, place: int) -> None:
    axes.imshow(found.faces[place])
    if found.spatial_attention is not None:
        # One scale for all frames: an even map must not look as sharp as a pointed one.
        top = float(found.spatial_attention.max())
        weights = spread(found.spatial_attention[place], found.faces.shape[1])
        axes.imshow(weights, cmap="inferno", alpha=0.45, vmin=0.0, vmax=top)
    axes.set_title(f"frame {found.keyframes[place]}", fontsize=8)
    axes.axis("off")


def _bar(axes: Axes, weights: list[float], place: int) -> None:
    axes.bar([0], [weights[place]], width=0.5, color=BAR)
    axes.set(xlim=(-1, 1), ylim=(0, 1.35 * max(weights)), xticks=[], yticks=[])
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.text(0, weights[place], f"{weights[place]:.2f}", ha="center", va="bottom", fontsize=8)


def _titles(figure: Figure, found: Prediction) -> None:
    ordered = sorted(found.probabilities.items(), key=lambda item: -item[1])
    figure.suptitle(
        f"{found.label}\n" + ", ".join(f"{name} {p:.2f}" for name, p in ordered), fontsize=10
    )
    shown = []
    if found.spatial_attention is not None:
        side = round(found.spatial_attention.shape[1] ** 0.5)
        shown.append(f"overlay: attention over {side}x{side} regions, bright is more")
    if found.temporal_attention:
        shown.append("bars: attention over time")
    if shown:
        shown.append("where the model looked, not why it decided: cover a region and see")
    figure.supxlabel("; ".join(shown), fontsize=7)


def spread(weights: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Weights of a square grid of regions [R] as a smooth map [S, S] without negative values."""
    side = round(len(weights) ** 0.5)
    grid = weights.reshape(side, side).astype(np.float32)
    smooth = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.float32).clip(min=0.0)
