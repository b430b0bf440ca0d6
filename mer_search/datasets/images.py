"""Folders of numbered images, checked without decoding them all. Not for pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from PIL import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})


def numbered(folder: Path) -> tuple[dict[int, Path], list[str]]:
    """Images of a folder by the last integer of their names, and numbers that occur twice.

    Anything else in the folder (Thumbs.db, shortcuts, a Mac's `._` files) is no frame.
    """
    frames: dict[int, Path] = {}
    faults = []
    for path in sorted(folder.iterdir()):
        digits = re.findall(r"\d+", path.stem)
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not digits:
            continue
        if not path.is_file():
            continue
        first = frames.setdefault(int(digits[-1]), path)
        if first != path:
            faults.append(
                f"{first.name} and {path.name} in {folder} are both frame {int(digits[-1])}; "
                "remove one"
            )
    return frames, faults


def broken(frames: Sequence[Path]) -> list[str]:
    """What is wrong with the image files of one clip: unreadable ones, sizes that differ.

    Headers of all frames are read; only the first is decoded, which is what finds an archive that
    was cut short or unpacked wrongly as a whole at a hundredth of the cost of decoding all.
    """
    faults = []
    sizes: dict[tuple[int, int], Path] = {}
    for position, path in enumerate(frames):
        try:
            with Image.open(path) as image:
                sizes.setdefault(image.size, path)
                if position == 0:
                    image.load()
        except (OSError, SyntaxError, ValueError) as problem:
            what = "is empty" if path.stat().st_size == 0 else f"is no readable image ({problem})"
            faults.append(f"{path} {what}; copy it again")
    if len(sizes) > 1:
        told = ", ".join(f"{w}x{h} ({path.name})" for (w, h), path in sizes.items())
        faults.append(f"its frames differ in size: {told}; copy the clip again")
    return faults


def runs(numbers: Iterable[int]) -> str:
    """`[1, 2, 3, 7]` -> `"1..3, 7"`; the numbers ascend."""
    parts = []
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}")
    return ", ".join(parts)
