"""Optical flow from one grey picture to another, and its strain. Not for choosing frames.

Letters: h, w pixels of a picture; u, v motion in pixels to the right and down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mer_search.features.evidence import FARNEBACK

Grey = NDArray[np.uint8]
Field = NDArray[np.float32]
MARGIN = 16
"""Pixels repeated beyond the border: Farneback's method, given a picture twice, finds motion of up
to a pixel along its border, which the margin takes (5e-4 pixels are left)."""


def flow(onset: Grey, frame: Grey, *, method: str) -> Field:
    """Motion [h, w, 2] as (u, v), in pixels, from the onset picture [h, w] to another.

    Args:
        method: `farneback` (Farneback 2003), `tv-l1` (Zach et al. 2007, as scikit-image solves
            it) or `dis` (Kroeger et al. 2016, OpenCV's medium preset).
    """
    return METHODS[method](onset, frame)


def strain(field: Field) -> NDArray[np.float32]:
    """Size of the deformation [h, w] of motion [h, w, 2]: sqrt(ux^2 + vy^2 + (uy + vx)^2 / 2).

    Shreve et al. 2009; a shift or a small turn of the whole face has none.
    """
    uy, ux = np.gradient(field[..., 0])
    vy, vx = np.gradient(field[..., 1])
    size: NDArray[np.float32] = np.sqrt(ux**2 + vy**2 + (uy + vx) ** 2 / 2).astype(np.float32)
    return size


def _farneback(onset: Grey, frame: Grey) -> Field:
    wide = [
        cv2.copyMakeBorder(each, *(MARGIN,) * 4, borderType=cv2.BORDER_REPLICATE)
        for each in (onset, frame)
    ]
    field: Any = cv2.calcOpticalFlowFarneback(*wide, None, *FARNEBACK)  # type: ignore[call-overload]
    inside: Field = field[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return inside


def _tv_l1(onset: Grey, frame: Grey) -> Field:
    from skimage.registration import optical_flow_tvl1  # half a second to import

    find: Callable[..., Any] = optical_flow_tvl1
    down, right = find(onset.astype(np.float32) / 255, frame.astype(np.float32) / 255)
    return np.stack([right, down], -1).astype(np.float32)


def _dis(onset: Grey, frame: Grey) -> Field:
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(finder.calc(onset, frame, None), np.float32)  # type: ignore[call-overload]


METHODS: dict[str, Callable[[Grey, Grey], Field]] = {
    "farneback": _farneback,
    "tv-l1": _tv_l1,
    "dis": _dis,
}
