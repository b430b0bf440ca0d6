"""What extraction hands on. Light to import: numpy only.

Letters: N clips, K keyframes, R regions, D channels, S pixels of a face image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Regions = Literal["keep", "mean", "flatten"]


@dataclass(frozen=True)
class FeatureSet:
    """What models are trained on.

    Attributes:
        x: features [N, K, R, D], float32; with further versions of the clips (`features.augment`)
            [N times versions, K, R, D], all clips of one version after another, themselves first.
        label: class positions in `classes` [N], int64.
        subject: (dataset, subject) of each clip [N].
        keys: `dataset/subject/name` of each clip [N].
        classes: class names [C].
        digest: names the data, the settings and the weights that gave `x`.
        block: where the face network's last block is trained, the weights it starts from, by name;
            `x` is what enters it then.
        mirrored: whether clips are scored by the mean over themselves and the second version, which
            is the mirrored one.
    """

    x: NDArray[np.float32]
    label: NDArray[np.int64]
    subject: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    classes: tuple[str, ...]
    digest: str
    block: Mapping[str, NDArray[np.float32]] | None = None
    mirrored: bool = False

    @property
    def itself(self) -> NDArray[np.float32]:
        """The clips as they are [N, K, R, D]."""
        return self.x[: len(self.keys)]

    @property
    def scored(self) -> tuple[NDArray[np.float32], ...]:
        """What is scored [N, K, R, D] each: the clips themselves, and mirrored where asked for."""
        clips = len(self.keys)
        return (self.itself, self.x[clips : 2 * clips]) if self.mirrored else (self.itself,)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The clip, 0 to N-1, that each row of `x` shows: what is trained on."""
        return np.arange(len(self.x)) % len(self.keys)


@dataclass(frozen=True)
class FillReport:
    """What filling the cache did.

    Attributes:
        faults: clips that have no features, one sentence each.
        faulty: their keys.
        notes: what was done to usable clips and should be known, one sentence each.
        frames_embedded: frames a network saw now; 0 when all was cached.
        seconds: wall time.
    """

    faults: tuple[str, ...]
    faulty: tuple[str, ...]
    notes: tuple[str, ...]
    frames_embedded: int
    seconds: float


@dataclass(frozen=True)
class VideoFeatures:
    """The features of one raw clip.

    Attributes:
        x: [1, K, R, D], float32; [2, K, R, D] where the mirrored clip is looked at, too.
        keyframes: 0-based positions in the video [K]; the nearest ones under `tim`.
        faces: the aligned keyframes [K, S, S, 3], uint8.
        notes: what the user should know, in sentences.
        frames: what the network was shown [T, ...], for each of its streams.
        mix: float32 [K, T]; `x` is `mix` times the frames' embeddings, before regions are averaged.
    """

    x: NDArray[np.float32]
    keyframes: list[int]
    faces: NDArray[np.uint8]
    notes: tuple[str, ...]
    frames: tuple[NDArray[Any], ...]
    mix: NDArray[np.float32]
