"""Maps in `.npy` files, checked by their headers. Not for images.

Letters: H, W pixels, C channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mer_search.datasets.clips import Clip


def array_faults(path: Path) -> list[str]:
    """Why one `.npy` file is no map [H, W, C]; reads the header only."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as problem:
        return [f"{path} is no readable .npy array ({problem}); write it again"]
    if array.ndim != 3 or array.dtype.kind not in "buif" or 0 in array.shape:
        return [
            f"{path} must hold numbers [H, W, C], not {array.dtype} {list(array.shape)}; "
            "write it again, with an axis for the channel"
        ]
    return []


def one_shape(clips: list[Clip]) -> tuple[list[Clip], list[str]]:
    """The clips whose arrays have the commonest shape, and a fault for each other one.

    Images are not compared over clips: alignment brings them to one size.
    """
    shapes = {
        clip.key: [shape_of(path) for path in clip.frames]
        for clip in clips
        if clip.frames[0].suffix.lower() == ".npy"
    }
    every = [shape for found in shapes.values() for shape in found]
    if len(set(every)) < 2:
        return clips, []
    common = max(sorted(set(every)), key=every.count)
    faults = [
        f"clip {key}: its arrays are {', '.join(sorted(set(found)))}, most of the manifest "
        f"{common}; mixed sizes cannot be compared: resample them"
        for key, found in shapes.items()
        if set(found) != {common}
    ]
    return [clip for clip in clips if set(shapes.get(clip.key, [common])) == {common}], faults


def shape_of(path: Path) -> str:
    """`"28x28x3"`."""
    return "x".join(map(str, np.load(path, mmap_mode="r", allow_pickle=False).shape))
