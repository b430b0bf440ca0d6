"""Reads the frames of a clip, a video file or a folder of images. Not for alignment.

Images become uint8 RGB [H, W, 3]; `.npy` arrays become float32 maps [H, W, C].
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mer_search.errors import InputError

Frame = NDArray[Any]
IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})


def read_image(path: Path) -> Frame:
    """One frame.

    Raises:
        InputError: if the file is missing, unreadable, or an array that is no finite map.
    """
    if not path.is_file():
        raise InputError(path, "a frame has to exist, this file does not; copy the clip again")
    if path.suffix.lower() == ".npy":
        return _map(path)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if not len(content):
        raise InputError(path, "a frame must hold an image, this file is empty; copy it again")
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(path, "a frame must be an image, this one cannot be read; copy it again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _map(path: Path) -> Frame:
    """A stored array as [H, W, C]."""
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as problem:
        raise InputError(path, f"cannot be read as an array ({problem}); save it again") from None
    if values.ndim not in (2, 3) or not np.issubdtype(values.dtype, np.number):
        raise InputError(
            path,
            f"a map must be numbers [H, W, C], found {values.dtype} {values.shape}; save it so",
        )
    values = values.astype(np.float32).reshape(*values.shape[:2], -1)
    if not np.isfinite(values).all():
        raise InputError(path, "a map must be finite, this one holds NaN or infinity; repair it")
    found: Frame = values
    return found


def read_frames(paths: Sequence[Path]) -> list[Frame]:
    """Frames of one clip, all of one size.

    Raises:
        InputError: naming the first file that is unreadable or of another size.
    """
    frames = [read_image(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise InputError(
                path,
                f"frames of a clip must have one size, this is {_size(frame)} but "
                f"{paths[0].name} is {_size(frames[0])}; make them equal",
            )
    return frames


def _size(frame: Frame) -> str:
    return f"{frame.shape[1]}x{frame.shape[0]}"


def read_video(path: Path) -> list[Frame]:
    """RGB frames [T] of a video file, or of a folder of images in order of their last integer.

    Raises:
        InputError: no such path, an empty or broken file, a file that is no video, a folder
            without images.
    """
    path = Path(path)
    if path.is_dir():
        return read_frames(_numbered(path))
    if not path.exists():
        raise InputError(path, "a video has to exist, nothing is there; check the path")
    if path.stat().st_size == 0:
        raise InputError(path, "a video must hold frames, this file is empty; copy it again")
    frames = _decode(path)
    if not frames:
        raise InputError(
            path,
            "no frame could be decoded: it is no video, or a broken one; give a video file "
            "(mp4, avi, ...) or a folder of images",
        )
    return frames


def _decode(path: Path) -> list[Frame]:
    video = cv2.VideoCapture(str(path))
    frames = []
    try:
        while video.isOpened():
            there, frame = video.read()
            if not there:
                break
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    finally:
        video.release()
    return frames


def _numbered(folder: Path) -> list[Path]:
    """Images or maps by the last integer of their names; names without one come first, by name."""
    known = IMAGES | {".npy"}
    found = [p for p in folder.iterdir() if p.suffix.lower() in known and p.name[0] != "."]
    if not found:
        raise InputError(
            folder, f"a folder must hold images ({', '.join(sorted(IMAGES))}), this one has none"
        )
    return sorted(found, key=lambda p: (int((re.findall(r"\d+", p.stem) or [-1])[-1]), p.name))
