"""What the aligned frames of a clip tell the keyframe methods. Not for choosing frames.

Letters: T frames; h, w pixels of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

Curve = NDArray[np.float32]
Grey = NDArray[np.float32]
FARNEBACK = (0.5, 3, 15, 3, 5, 1.2, 0)  # the parameters in wide use for micro-expressions
THUMBNAIL = 24  # pixels of the side k-means compares frames at


def curves(frames: NDArray[Any], names: Iterable[str], *, onset: int) -> dict[str, Curve]:
    """The named curves over frames [T, h, w, C]; `onset` is a 0-based position."""
    shades = grey(frames)
    return {name: CURVES[name](shades, onset) for name in names}


def grey(frames: NDArray[Any]) -> Grey:
    """Brightness 0..255 [T, h, w]; maps are stretched to that range over the whole clip."""
    if frames.dtype == np.uint8 and frames.shape[-1] == 3:
        return np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames]).astype(np.float32)
    mean = frames.astype(np.float32).mean(-1)
    low, high = float(mean.min()), float(mean.max())
    stretched = (mean - low) * (255 / (high - low) if high > low else 0.0)
    shades: Grey = np.clip(stretched, 0, 255).astype(np.float32)
    return shades


def pictures(frames: NDArray[Any]) -> NDArray[np.uint8]:
    """Frames as something to look at [T, h, w, 3]; maps by their brightness."""
    if frames.dtype == np.uint8 and frames.shape[-1] == 3:
        return frames
    return np.repeat(grey(frames).round().astype(np.uint8)[..., None], 3, axis=-1)


def _difference(shades: Grey, onset: int) -> Curve:
    """Mean absolute difference to the onset frame [T]."""
    curve: Curve = np.abs(shades - shades[onset]).mean((1, 2))
    return curve


def _ssim(shades: Grey, onset: int) -> Curve:
    """1 - structural similarity to the onset frame [T]; windows shrink with tiny maps."""
    window = min(7, (min(shades.shape[1:]) - 1) // 2 * 2 + 1)
    if window < 3:
        return _difference(shades, onset)
    compare: Callable[..., float] = structural_similarity
    alike = [compare(s, shades[onset], data_range=255.0, win_size=window) for s in shades]
    return 1 - np.array(alike, np.float32)


def _flow(shades: Grey, onset: int) -> Curve:
    """Mean length of the optical flow from the frame before, in pixels [T]; 0 for the first."""
    bytes_ = shades.round().astype(np.uint8)
    lengths = [0.0]
    for before, after in pairwise(bytes_):
        field = cv2.calcOpticalFlowFarneback(before, after, None, *FARNEBACK)  # type: ignore[call-overload]
        lengths.append(float(np.linalg.norm(field, axis=-1).mean()))
    return np.array(lengths, np.float32)


def _thumbnails(shades: Grey, onset: int) -> Curve:
    """Small pictures minus the onset's [T, n], so that identity and light do not count."""
    side = min(THUMBNAIL, *shades.shape[1:])
    small = [cv2.resize(s, (side, side), interpolation=cv2.INTER_AREA).ravel() for s in shades]
    change: Curve = (np.stack(small) - small[onset]).astype(np.float32)
    return change


CURVES: dict[str, Callable[[Grey, int], Curve]] = {
    "difference": _difference,
    "ssim": _ssim,
    "flow": _flow,
    "kmeans": _thumbnails,
}
