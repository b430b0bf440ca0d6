"""Frames of semi-synthetic faces: one real portrait made into subjects that move. Not for files.

A frame is the portrait sampled once through a map: head drift, then the subject's geometry, then
the movement of a class, so nothing is blurred by sampling twice. Letters: H, W pixels of a frame,
T frames of a clip. Lengths are pixels of the portrait, in which the face is about 90 wide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data

Image: TypeAlias = npt.NDArray[np.uint8]
Field: TypeAlias = npt.NDArray[np.float32]

SIZE = 176
CORNER = (136.0, 30.0)
"""Left upper corner (x, y) of the frame in the portrait; the face is in the frame's middle."""
CENTRE = (224.0, 118.0)

# Landmarks of the portrait, measured by MTCNN (eyes, nose, mouth) or placed by eye (brows).
LEFT_BROW, RIGHT_BROW = (204.0, 91.0), (248.0, 92.0)
NOSE_WING_LEFT, NOSE_WING_RIGHT = (216.0, 130.0), (235.0, 131.0)
LEFT_LIP, RIGHT_LIP = (202.0, 139.0), (245.0, 141.0)
UPPER_LIP, LOWER_LIP = (224.0, 137.0), (223.0, 150.0)


@dataclass(frozen=True)
class Push:
    """Skin near `at` moves by `by` at the apex, less with distance on the scale of `reach`."""

    at: tuple[float, float]
    by: tuple[float, float]
    reach: tuple[float, float] = (10.0, 7.0)


MOVEMENTS: dict[str, tuple[Push, ...]] = {
    "lip corners": (
        Push(LEFT_LIP, (-1.9, -2.1), (9.0, 8.0)),
        Push(RIGHT_LIP, (1.9, -2.1), (9.0, 8.0)),
    ),
    "brow raise": (
        Push(LEFT_BROW, (0.0, -2.6), (15.0, 8.0)),
        Push(RIGHT_BROW, (0.0, -2.6), (15.0, 8.0)),
    ),
    "brow lowering and nose": (
        Push(LEFT_BROW, (1.4, 2.2), (13.0, 7.0)),
        Push(RIGHT_BROW, (-1.4, 2.2), (13.0, 7.0)),
        Push(NOSE_WING_LEFT, (-0.5, -1.9), (7.0, 7.0)),
        Push(NOSE_WING_RIGHT, (0.5, -1.9), (7.0, 7.0)),
    ),
    "lip press": (
        Push(UPPER_LIP, (0.0, 2.2), (17.0, 5.0)),
        Push(LOWER_LIP, (0.0, -2.6), (17.0, 5.0)),
    ),
    "one-sided": (
        Push(LEFT_LIP, (-2.4, -1.6), (11.0, 9.0)),
        Push((206.0, 112.0), (0.0, -1.8), (12.0, 6.0)),
    ),
}
"""Movement -> what moves at the apex, 1 to 3 pixels."""


@dataclass(frozen=True)
class Subject:
    """One invented person.

    Attributes:
        geometry: where in the portrait each pixel comes from, x and y [H, W, 2].
        light: factor per pixel and channel (complexion, lamp) [H, W, 3].
        gamma: contrast of the camera.
    """

    geometry: Field
    light: Field
    gamma: float


@dataclass(frozen=True)
class Motion:
    """How one clip moves: `strength` [T] of its movement, 1 at the apex."""

    movement: str
    strength: npt.NDArray[np.float64]
    drift: float = 2.0
    noise: float = 2.5


@cache
def portrait() -> Image:
    """The public-domain portrait of scikit-image, BGR [512, 512, 3]."""
    rgb: Image = skimage.data.astronaut()  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(rgb[..., ::-1])


def subject(rng: np.random.Generator) -> Subject:
    """A person drawn at random: smooth changes of shape, complexion and light."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    grid = np.stack([x + CORNER[0], y + CORNER[1]], axis=-1)
    scale = rng.uniform(0.88, 1.12, size=2).astype(np.float32)
    shape = (grid - CENTRE) / scale + CENTRE + smooth(rng, amplitude=4.2, waves=3)
    lamp = 1 + smooth(rng, amplitude=0.16, waves=2)[..., :1]
    tint = rng.uniform(0.6, 1.0) * rng.uniform(0.92, 1.08, size=3)
    light = (lamp * tint).astype(np.float32)
    return Subject(shape.astype(np.float32), light, gamma=float(rng.uniform(0.8, 1.25)))


def smooth(rng: np.random.Generator, *, amplitude: float, waves: int) -> Field:
    """A random field [H, W, 2] without folds: a coarse grid of values, interpolated by cubics."""
    coarse = rng.uniform(-amplitude, amplitude, size=(waves + 1, waves + 1, 2))
    return _float(
        cv2.resize(coarse.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    )


def displacement(person: Subject, movement: str) -> Field:
    """Where the portrait is sampled further off at the apex of a movement, x and y [H, W, 2].

    The sign is turned: skin that moves up is found below.
    """
    total = np.zeros_like(person.geometry)
    for push in MOVEMENTS[movement]:
        away = (person.geometry - _float(push.at)) / _float(push.reach)
        weight = np.exp(-0.5 * (away**2).sum(axis=-1, keepdims=True))
        total -= weight * _float(push.by)
    return total


def frames(person: Subject, motion: Motion, rng: np.random.Generator) -> Iterator[Image]:
    """The images of one clip in time order, BGR [H, W, 3] each."""
    apex = displacement(person, motion.movement)
    for strength, pose in zip(motion.strength, poses(motion, rng), strict=True):
        # Warping the map instead of the image keeps every frame equally sharp.
        where = cv2.warpAffine(person.geometry + np.float32(strength) * apex, pose, (SIZE, SIZE),
                               borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        sampled = cv2.remap(portrait(), where, None, cv2.INTER_CUBIC)  # type: ignore[call-overload]
        yield expose(sampled, person, motion.noise, rng)


def poses(motion: Motion, rng: np.random.Generator) -> Iterator[Any]:
    """Affine head drift [2, 3] per frame: from rest along one slow, slightly curved path."""
    count = len(motion.strength)
    goal = rng.normal(0.0, motion.drift / 2, size=2)
    sway = rng.normal(0.0, motion.drift / 4, size=2)
    turn = rng.normal(0.0, motion.drift / 3)
    for time in np.linspace(0.0, 1.0, count):
        pose = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), turn * time, 1.0)
        pose[:, 2] += goal * time + sway * np.sin(np.pi * time)
        yield pose


def expose(sampled: Image, person: Subject, noise: float, rng: np.random.Generator) -> Image:
    """The subject's light and the sensor's noise upon an image."""
    linear = (np.arange(256, dtype=np.float32) / 255) ** np.float32(person.gamma) * 255
    lit = linear[sampled] * person.light
    lit += rng.standard_normal(lit.shape, dtype=np.float32) * np.float32(noise)
    return np.clip(lit + 0.5, 0, 255).astype(np.uint8)


def _float(array: Any) -> Field:
    return np.asarray(array, dtype=np.float32)
