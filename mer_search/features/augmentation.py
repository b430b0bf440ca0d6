"""Further versions of a training clip: mirrored, moved, or with other key frames. Pure.

A version changes all frames of a clip alike, so that no motion is added to the face. Letters: T
frames, S pixels of the square face image, K keyframes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mer_search.config import Augment
from mer_search.features.keyframes import Positions

TURN, SCALE, SHIFT = 5.0, 0.05, 0.03
"""Largest turn in degrees, change of size, and shift as a share of the face's side."""
TRIES = 16


@dataclass(frozen=True)
class Version:
    """One version; the first of each kind is 1, and 0 means untouched."""

    flip: bool = False
    affine: int = 0
    jitter: int = 0


def versions(settings: Augment) -> tuple[Version, ...]:
    """The clip itself, then its further versions, each changed in one way."""
    found = [Version()]
    if settings.flip:
        found.append(Version(flip=True))
    found += [Version(affine=number + 1) for number in range(settings.affine)]
    found += [Version(jitter=number + 1) for number in range(settings.jitter)]
    return tuple(found)


def scored(settings: Augment) -> tuple[Version, ...]:
    """The versions whose answers are averaged for a clip: itself, and mirrored where asked for."""
    return (Version(), Version(flip=True)) if settings.flip_scored else (Version(),)


def changed(faces: NDArray[np.uint8], *, flip: bool, affine: int, clip: str) -> NDArray[np.uint8]:
    """Faces [T, S, S, 3] of one clip, all changed alike.

    Args:
        affine: which of the clip's drawn transforms, from 1; 0: none.
        clip: digest of the clip's content, from which they are drawn.
    """
    if flip:
        faces = np.ascontiguousarray(faces[:, :, ::-1])
    if affine:
        matrix, side = drawn(clip, affine, faces.shape[1]), faces.shape[1]
        faces = np.stack(
            [cv2.warpAffine(f, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
             for f in faces]
        ).astype(np.uint8)  # fmt: skip
    return faces


def drawn(clip: str, number: int, side: int) -> NDArray[np.float64]:
    """The clip's small transform of that number, [2, 3] in pixels, about the picture's centre."""
    seed = hashlib.sha256(f"{clip} {number}".encode()).digest()[:8]
    turn, scale, *shift = np.random.default_rng(int.from_bytes(seed, "big")).uniform(-1, 1, 4)
    middle = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), TURN * turn, 1 + SCALE * scale)
    return np.asarray(matrix, np.float64) + np.outer((*shift,), (0, 0, SHIFT * side))


def jittered(positions: Positions, frames: int, number: int) -> Positions:
    """Key frames [K] each moved by up to a quarter of their mean distance, or one frame.

    The moves depend on the clip's length and `number` alone; order is kept. Fewer than 4 key frames
    are moved like 4: a sixteenth of the clip is much for an apex already.
    """
    reach = max(1, round(frames / (4 * max(len(positions), 4))))
    source = np.random.default_rng([number, frames, len(positions)])
    moved = positions
    for _ in range(TRIES):  # short clips: a move beyond an end is none
        by = source.integers(-reach, reach + 1, len(positions))
        moved = np.sort(np.clip(positions + by, 0, frames - 1)).astype(np.int64)
        if not np.array_equal(moved, positions):
            break
    return moved
