"""One similarity transform per clip, from the face on its onset frame. Not for reading files.

A transform per frame would hide the small motions that are looked for, and add the detector's
jitter to them; so every frame of a clip is moved by the same transform, eyes level.
Letters: T frames, S pixels of the square face image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mer_search.features.frames import Frame

if TYPE_CHECKING:
    from facenet_pytorch import MTCNN

TEMPLATE = np.array([(0.34, 0.38), (0.66, 0.38), (0.50, 0.565), (0.37, 0.75), (0.63, 0.75)])
"""Eyes, nose and mouth corners in the unit square: brows and chin stay inside the picture."""
SMALLEST = 20  # pixels of the smallest face MTCNN was made for
SURE = 0.9  # probability from which a further detection counts as another face
GRID = 8  # landmarks are rounded to 1/8 pixel: a batch changes them by 1e-5, and pixels by nothing
GONE = "it left the picture or was covered, and the frames without it were used as they are"
OUTSIDE = 0.02  # share of the face square beyond the image from which it is told
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """Where the face of a clip is.

    Attributes:
        matrix: image -> unit square, [2, 3]; None when no face was found.
        notes: what the user should know, in sentences without the clip's name.
    """

    matrix: Matrix | None
    notes: tuple[str, ...] = ()


@cache
def _detector(min_face_size: int, device: str) -> MTCNN:
    from facenet_pytorch import MTCNN  # brings torchvision, seconds that cached faces need not wait

    return MTCNN(min_face_size=min_face_size, keep_all=True, device=torch.device(device))


def locate(images: Sequence[Frame], *, device: str = "cpu") -> list[Placement]:
    """The face of each image [H, W, 3] uint8; images of any sizes, batched by size."""
    placements: dict[int, Placement] = {}
    for shape in sorted({image.shape for image in images}):
        members = [i for i, image in enumerate(images) if image.shape == shape]
        # A tenth of the shorter side finds every face that fills a data set's picture, 6 times
        # faster than 20 pixels; only where nothing is found the slow search is worth its time.
        sizes = sorted({max(SMALLEST, min(shape[:2]) // 10), SMALLEST}, reverse=True)
        for size in sizes:
            left = [i for i in members if i not in placements or placements[i].matrix is None]
            if left:
                found = _detect(np.stack([images[i] for i in left]), size, device)
                placements |= dict(zip(left, found, strict=True))
    return [placements[i] for i in range(len(images))]


def looked_at(count: int, onset: int, apex: int | None) -> list[int]:
    """Positions where the face of a clip is searched: the onset, then middle, apex and last frame.

    The onset places the face; the others only tell whether it stays, so a few of them will do.
    """
    later = {(onset + count - 1) // 2, count - 1} | ({apex} if apex is not None else set())
    return [onset, *sorted(later - {onset})]


def place(clips: Sequence[Mapping[str, Frame]], *, device: str = "cpu") -> list[Placement]:
    """The face of each clip, from its onset frame; later frames tell whether the face stays.

    Args:
        clips: frames of each clip by a name for the user, the onset frame first; see `looked_at`.
        device: torch's name of it.
    """
    found = locate([next(iter(frames.values())) for frames in clips], device=device)
    later = [
        (i, name, frame)
        for i, frames in enumerate(clips)
        if found[i].matrix is not None
        for name, frame in list(frames.items())[1:]
    ]
    seen = locate([frame for _, _, frame in later], device=device)
    gone: dict[int, list[str]] = {}
    for (i, name, _), placement in zip(later, seen, strict=True):
        if placement.matrix is None:
            gone.setdefault(i, []).append(name)
    for i, names in gone.items():
        note = f"no face was found on {', '.join(names)}: {GONE}"
        found[i] = replace(found[i], notes=(*found[i].notes, note))
    return found


def _detect(batch: NDArray[np.uint8], min_face_size: int, device: str) -> list[Placement]:
    if min(batch.shape[1:3]) < min_face_size:  # MTCNN's pyramid would be empty, which it raises on
        return [Placement(None)] * len(batch)
    found = _detector(min_face_size, device).detect(batch, landmarks=True)
    size = (batch.shape[2], batch.shape[1])
    return [_placement(*face, size=size) for face in zip(*found, strict=True)]


def _placement(boxes: Any, sure: Any, points: Any, *, size: tuple[int, int]) -> Placement:
    """The largest and most central of the faces MTCNN found in one image."""
    if boxes is None:
        return Placement(None)
    box, probability = np.asarray(boxes, float), np.asarray(sure, float)
    kept = np.flatnonzero(probability >= min(SURE, probability.max()))
    half = np.array(size) / 2
    away = np.linalg.norm((box[kept, :2] + box[kept, 2:]) / 2 / half - 1, axis=1)
    area = np.prod(box[kept, 2:] - box[kept, :2], axis=1)
    best = kept[np.argmax(area * np.exp(-away))]
    matrix = similarity(np.round(np.asarray(points, float)[best] * GRID) / GRID)
    notes = []
    if len(kept) > 1:
        notes.append(f"{len(kept)} faces on the onset frame; the largest, most central one is used")
    share = outside(matrix, size)
    if share > OUTSIDE:
        notes.append(
            f"{share:.0%} of the face's square lies beyond the image's border; edge pixels "
            "were repeated there"
        )
    return Placement(matrix, tuple(notes))


def similarity(points: NDArray[np.float64]) -> Matrix:
    """Landmarks [5, 2] in pixels -> the transform to the unit square that levels the eyes.

    Scale and shift are the least-squares ones for `TEMPLATE` under that rotation.
    """
    across = points[1] - points[0]
    angle = np.arctan2(across[1], across[0])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre, target = points.mean(0), TEMPLATE.mean(0)
    turned = (points - centre) @ turn.T
    scale = (turned * (TEMPLATE - target)).sum() / (turned**2).sum()
    linear = scale * turn
    return np.column_stack([linear, target - linear @ centre])


def outside(matrix: Matrix, size: tuple[int, int]) -> float:
    """Share of the unit square that maps to no pixel of an image of `size` (width, height)."""
    ticks = (np.arange(32) + 0.5) / 32
    grid = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    back = (grid - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    return float(((back < 0) | (back > np.array(size))).any(1).mean())


def warp(frames: Sequence[Frame], matrix: Matrix | None, size: int) -> NDArray[np.uint8]:
    """Frames [T] of one size -> faces [T, S, S, 3]; without a matrix they are only resized."""
    if matrix is None:
        return np.stack([_resize(frame, size) for frame in frames])
    scaled = matrix * size
    scaled[:, 2] -= 0.5 * (1 - scaled[:, :2].sum(1))  # OpenCV counts from pixel centres
    faces = []
    for frame in frames:
        source, change = frame, scaled.copy()
        # Bilinear sampling of a much larger face would alias; halve it by areas first.
        while np.hypot(*change[0, :2]) < 0.5:
            height, width = source.shape[0] // 2, source.shape[1] // 2
            even = source[: 2 * height, : 2 * width]
            source = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
            change[:, 2] += change[:, :2].sum(1) / 2
            change[:, :2] *= 2
        faces.append(cv2.warpAffine(source, change, (size, size), borderMode=cv2.BORDER_REPLICATE))
    return np.stack(faces).astype(np.uint8)


def _resize(frame: Frame, size: int) -> Frame:
    smaller = min(frame.shape[:2]) > size
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(frame, (size, size), interpolation=way)
