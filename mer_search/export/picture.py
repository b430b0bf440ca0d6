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


def write(found: Prediction, file: Path) -> None:
    """Writes faces in a row with the spatial attention laid over, the temporal one as bars below.

    Raises:
        InputError: a file that cannot be written, or whose ending is no picture format.
    """
    count = len(found.keyframes)
    across, bars = min(count, ACROSS), bool(found.temporal_attention)
    rows = -(-count // across)
    heights = [1.0, 0.45] if bars else [1.0]
    size = (max(5.0, 1.5 * across), 1.6 + rows * 1.75 * sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows * len(heights), across, squeeze=False, height_ratios=heights * rows)
    for place in range(rows * across):
        row, column = divmod(place, across)
        cells = grid[row * len(heights) : (row + 1) * len(heights), column]
        for cell in cells[count <= place :]:
            cell.axis("off")
        if place < count:
            _face(cells[0], found, place)
        if bars and place < count:
            _bar(cells[1], found.temporal_attention, place)
    _titles(figure, found)
    try:
        figure.savefig(file, dpi=130)
    except (ValueError, OSError) as fault:
        raise InputError(file, f"cannot be written ({fault}); name a .png, .svg or .pdf") from fault


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
        shown.append("overlay: attention over the face, bright is more")
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
