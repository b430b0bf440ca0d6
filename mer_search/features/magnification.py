"""Eulerian motion magnification of a clip of faces (Wu et al. 2012, linear). Not for single frames.

Brightness is split into a Laplacian pyramid, each level's course over time is band-passed,
multiplied and added again. Ours, and not the paper's: the band is counted in cycles per clip,
since data sets differ in frame rate and a clip holds one expression; the course is taken as an
even function of time (a cosine transform), so that its ends do not ring; and change is counted
from the onset, which therefore stays as it is. Letters: T frames, h, w pixels of a frame.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct

Levels = list[NDArray[np.float32]]
SLOWEST, FASTEST = 0.5, 5.0
"""Band of change that is magnified, in cycles per clip: a face that moves and returns makes one."""
SMALLEST = 8  # pixels of a side below which the pyramid ends
CUTOFF = 16.0
"""Wavelength in pixels from which the whole factor applies; shorter ones would break up
(equation 14: factor times motion must stay below an eighth of the wavelength)."""


def magnify(faces: NDArray[np.uint8], factor: float, *, onset: int) -> NDArray[np.uint8]:
    """Faces [T, h, w, 3] with their motion since the onset multiplied; factor 1 changes nothing.

    Args:
        factor: of motion, 1 + alpha in the paper.
        onset: its position among the faces.
    """
    if factor == 1.0 or len(faces) == 1:
        return faces
    shades = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in faces]).astype(np.float32)
    levels = _pyramid(shades)
    for place, level in enumerate(levels):
        change = _band(level)
        level[:] = (change - change[onset]) * _gain(place, factor)
    added = _collapsed(levels, shades.shape[1:])
    moved: NDArray[np.uint8] = np.clip(np.rint(faces + added[..., None]), 0, 255).astype(np.uint8)
    return moved


def _gain(place: int, factor: float) -> float:
    """What a level is multiplied by: level l holds wavelengths from about 4 * 2^l pixels on."""
    wavelength = 4.0 * 2**place
    return float(np.clip(factor * wavelength / CUTOFF - 1, 0, factor - 1))


def _band(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of a course over time [T, ...] that lies in the band."""
    halves = dct(level, axis=0, norm="ortho")  # coefficient k is k / 2 cycles per clip
    cycles = np.arange(len(level)) / 2
    halves[(cycles < SLOWEST) | (cycles > FASTEST)] = 0
    course: NDArray[np.float32] = idct(halves, axis=0, norm="ortho")
    return course


def _pyramid(shades: NDArray[np.float32]) -> Levels:
    """Laplacian pyramid of frames [T, h, w], fine to coarse; the last level is what remains."""
    levels, rest = [], shades
    while min(rest.shape[1:]) >= 2 * SMALLEST:
        small = np.stack([cv2.pyrDown(each) for each in rest])
        levels.append(rest - _grown(small, rest.shape[1:]))
        rest = small
    return [*levels, rest.copy()]


def _collapsed(levels: Levels, shape: Any) -> NDArray[np.float32]:
    total = levels[-1]
    for level in reversed(levels[:-1]):
        total = level + _grown(total, level.shape[1:])
    assert total.shape[1:] == shape
    return total


def _grown(small: NDArray[np.float32], shape: Any) -> NDArray[np.float32]:
    return np.stack([cv2.pyrUp(each, dstsize=(shape[1], shape[0])) for each in small])
