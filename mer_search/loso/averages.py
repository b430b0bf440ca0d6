"""Means of several answers about the same held-out clips: of several trainings, or of two views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_search.loso.train import HeldOut


def averaged(again: Sequence[HeldOut]) -> HeldOut:
    """Means of the probabilities and maps that several trainings gave the same clips."""
    if len(again) == 1:
        return again[0]
    maps: dict[str, NDArray[np.float16]] = {
        name: np.asarray(np.mean([one.maps[name] for one in again], 0, np.float32), np.float16)
        for name in again[0].maps
    }
    probs = np.mean([one.probs for one in again], 0)
    return HeldOut(again[0].clip, again[0].fold, probs, maps)


def both_ways(views: Sequence[HeldOut]) -> HeldOut:
    """The clips, then, where there is a second view, their mirrored versions: the mean of both.

    Attention to a mirrored face is mirrored back first, so that it lies where the face has it.
    """
    itself, *others = views
    return averaged([itself, *(_back(view) for view in others)])


def mirrored(weights: NDArray[Any]) -> NDArray[Any]:
    """Attention [..., R] to a mirrored face's regions, where they lie on the face itself.

    Regions are those of a square map, row by row.
    """
    side = isqrt(weights.shape[-1])
    rows = weights.reshape(*weights.shape[:-1], side, side)
    return np.ascontiguousarray(rows[..., ::-1]).reshape(weights.shape)


def _back(view: HeldOut) -> HeldOut:
    if "spatial" not in view.maps:
        return view
    return replace(view, maps={**view.maps, "spatial": mirrored(view.maps["spatial"])})
