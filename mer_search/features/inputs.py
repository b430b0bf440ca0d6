"""What a network is shown of a frame: its appearance, its change, its motion since the onset.

| kind | three channels | for a face network (0..255) | for `patches` (float) |
|---|---|---|---|
| appearance | red, green, blue | as they are | as they are |
| difference | red, green, blue less the onset's | 128 + difference | the difference |
| flow | u, v, strain | 128 + 25.5 * u, v; 10.2 * strain | in percent, see below |
| stacked | brightness, u, v | as above | as above |

u and v are motion since the onset in percent of the face's side, strain in percent: +-5 % of
motion and 25 % of strain fill the range of a picture. `a+b` are two streams, each embedded by
itself, channels side by side. Letters: T frames, n frames shown, S pixels of a face image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mer_search.config import Features
from mer_search.features.augmentation import Version, changed
from mer_search.features.flow import flow, strain
from mer_search.features.magnification import magnify

Faces = NDArray[np.uint8]
Maps = NDArray[np.float32]
LARGEST_MOTION, LARGEST_STRAIN = 5.0, 25.0
"""Percent that fill the range of a picture."""
MIDDLE = 128.0
ITSELF = Version()
READS_FLOW = frozenset({"flow", "stacked"})


@dataclass(frozen=True)
class Stream:
    """What one network input shows; the default shows frames as they are.

    Attributes:
        kind: a name of `KINDS`.
        flow: the method, where the kind reads flow, else "".
        magnification: of motion, before anything else is computed.
        size: pixels of a side of the maps for `patches`; 0: pictures for a face network.
        flip, affine: of the version (`augmentation`).
    """

    kind: str = "appearance"
    flow: str = ""
    magnification: float = 1.0
    size: int = 0
    flip: bool = False
    affine: int = 0

    @property
    def plain(self) -> bool:
        """Whether frames are shown as they are; such entries of the cache know of no streams."""
        return self == Stream()

    @property
    def content(self) -> dict[str, Any]:
        """What stands for it in a cache key."""
        return asdict(self)

    def reads(self, wanted: Sequence[int], *, frames: int, onset: int) -> list[int]:
        """Positions of the frames that have to be looked at to show the wanted ones, ascending."""
        if self.magnification != 1.0:
            return list(range(frames))
        return sorted({*wanted} if self.kind == "appearance" else {*wanted, onset})


def streams(features: Features, version: Version = ITSELF) -> tuple[Stream, ...]:
    """What networks are shown, one stream for each part of the kind."""
    if not features.of_faces:
        return (Stream(),)
    shown = features.input
    return tuple(
        Stream(
            kind,
            shown.flow if kind in READS_FLOW else "",
            shown.magnification,
            shown.size if features.backbone.name == "patches" else 0,
            version.flip,
            version.affine,
        )
        for kind in shown.kind.split("+")
    )


def show(
    faces: Faces, read: Sequence[int], wanted: Sequence[int], stream: Stream, *, onset: int,
    clip: str = "",
) -> NDArray[Any]:  # fmt: skip
    """What the network sees of the wanted frames: pictures [n, S, S, 3] or maps [n, size, size, 3].

    Args:
        faces: aligned frames at the positions `read` [len(read), S, S, 3].
        read: of `Stream.reads`.
        wanted: positions that are shown.
        onset: position of the onset.
        clip: digest of the clip's content.
    """
    place = {position: row for row, position in enumerate(read)}
    if stream.plain:
        return faces if len(read) == len(wanted) else faces[[place[p] for p in wanted]]
    faces = changed(faces, flip=stream.flip, affine=stream.affine, clip=clip)
    if stream.magnification != 1.0:
        faces = magnify(faces, stream.magnification, onset=place[onset])
    before = faces[place[onset]] if onset in place else None
    kind = KINDS[stream.kind]
    maps = [kind(before, faces[place[position]], stream.flow) for position in wanted]
    if stream.size:
        return np.stack([_shrunk(each, stream.size) for each in maps])
    return np.stack([_picture(each, stream.kind) for each in maps])


def _appearance(onset: Any, frame: Faces, method: str) -> Maps:
    return frame.astype(np.float32)


def _difference(onset: Any, frame: Faces, method: str) -> Maps:
    change: Maps = frame.astype(np.float32) - onset.astype(np.float32)
    return change


def _motion(onset: Any, frame: Faces, method: str) -> Maps:
    """u, v [S, S, 2] in percent of the face's side."""
    grey = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (onset, frame))
    moved: Maps = flow(*grey, method=method)  # type: ignore[arg-type]
    return moved * np.float32(100 / len(frame))


def _flow(onset: Any, frame: Faces, method: str) -> Maps:
    moved = _motion(onset, frame, method)
    # A derivative per pixel of motion in percent of the side: times the side, in percent.
    return np.dstack([moved, strain(moved) * np.float32(len(frame))])


def _stacked(onset: Any, frame: Faces, method: str) -> Maps:
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.dstack([grey, _motion(onset, frame, method)])


KINDS: dict[str, Callable[[Any, Faces, str], Maps]] = {
    "appearance": _appearance,
    "difference": _difference,
    "flow": _flow,
    "stacked": _stacked,
}

_MOTION, _STRAIN = (127.5 / LARGEST_MOTION, MIDDLE), (255 / LARGEST_STRAIN, 0.0)
SCALES: dict[str, tuple[tuple[float, float], ...]] = {
    "appearance": ((1.0, 0.0),) * 3,
    "difference": ((1.0, MIDDLE),) * 3,
    "flow": (_MOTION, _MOTION, _STRAIN),
    "stacked": ((1.0, 0.0), _MOTION, _MOTION),
}
"""Factor and offset of each channel in a picture."""


def _picture(maps: Maps, kind: str) -> Faces:
    factor, offset = np.array(SCALES[kind], np.float32).T
    picture: Faces = np.clip(np.rint(maps * factor + offset), 0, 255).astype(np.uint8)
    return picture


def _shrunk(maps: Maps, size: int) -> Maps:
    if len(maps) == size:
        return maps
    way = cv2.INTER_AREA if len(maps) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(maps, (size, size), interpolation=way), np.float32)
