"""Whether the regions that attention favours matter: which are taken away, and how. Pure.

Letters: n clips, K keyframes, R regions, D channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def chosen(weights: NDArray[Any] | None, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """The regions [n] of each clip that are taken away, by the name of the map they give.

    Args:
        weights: spatial attention [n,K,R]; None without any.
        seed: of the draw.

    Returns:
        `occluded_top`, the region of most weight, and `occluded_random`, another one; nothing
        where there is no attention over regions.
    """
    if weights is None or weights.shape[-1] < 2 or not len(weights):
        return {}
    regions = weights.shape[-1]
    top = weights.astype(np.float32).mean(1).argmax(-1)
    step = np.random.default_rng(seed).integers(1, regions, len(top))
    return {"occluded_top": top, "occluded_random": (top + step) % regions}


def without(x: NDArray[np.float32], region: NDArray[np.int64]) -> NDArray[np.float32]:
    """x [n,K,R,D] in whose keyframes the region [n] has the clip's mean over its other regions."""
    left, rows = np.array(x), np.arange(len(x))
    gone = left[rows, :, region]
    left[rows, :, region] = (left.sum(2) - gone) / (x.shape[2] - 1)
    return left
