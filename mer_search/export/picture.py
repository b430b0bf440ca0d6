"""Key frames of one clip with the model's attention, as a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mer_search.errors import InputError
from mer_search.export.model import Prediction


def write(found: Prediction, file: Path) -> None:
    """Writes faces in a row, spatial attention laid over them, temporal attention as bars.

    Raises:
        InputError: a file name whose ending is no picture format.
    """
    count = len(found.keyframes)
    temporal = bool(found.temporal_attention)
    figure = Figure(figsize=(max(4.0, 1.5 * count), 3.4 if temporal else 2.4), layout="constrained")
    axes = figure.subplots(1 + temporal, count, squeeze=False,
                           height_ratios=[3, 1] if temporal else None)  # fmt: skip
    for k, frame in enumerate(found.keyframes):
        face = axes[0, k]
        face.imshow(found.faces[k])
        if found.spatial_attention is not None:
            weights = spread(found.spatial_attention[k], found.faces.shape[1])
            face.imshow(weights, cmap="inferno", alpha=0.45)
        face.set_title(f"frame {frame}", fontsize=8)
        face.axis("off")
        if temporal:
            bar = axes[1, k]
            bar.bar([0], [found.temporal_attention[k]], color="#2a6f97")
            bar.set(ylim=(0, max(found.temporal_attention) * 1.3), xticks=[], yticks=[])
            bar.text(0, found.temporal_attention[k], f"{found.temporal_attention[k]:.2f}",
                     ha="center", va="bottom", fontsize=8)  # fmt: skip
    told = ", ".join(f"{name} {p:.2f}" for name, p in found.probabilities.items())
    figure.suptitle(f"{found.label}\n{told}", fontsize=9)
    figure.supxlabel("attention: where the model looked, not why it decided", fontsize=7)
    try:
        figure.savefig(file, dpi=130)
    except (ValueError, OSError) as fault:
        raise InputError(file, f"cannot be written ({fault}); name a .png, .svg or .pdf") from fault


def spread(weights: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Weights of a square grid of regions [R] as a smooth map [size, size]."""
    side = round(len(weights) ** 0.5)
    grid = weights.reshape(side, side).astype(np.float32)
    return np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)
