"""Which frames of a clip a model sees. Pure: from the clip's evidence to positions.

| method | what it picks | reads |
|---|---|---|
| uniform | equal steps from first to last frame | - |
| apex | equal steps from onset to apex to offset; K = 1: the apex alone | annotated apex |
| apex-or-spotted | the same; where no apex is annotated, by `difference` | apex, onset |
| difference | the frames that differ most from the onset in brightness | onset |
| ssim | the frames least similar in structure to the onset | onset |
| flow | equal shares of the optical flow summed over the clip | - |
| kmeans | the frame nearest to each of K cluster centres | - |
| tim | K equal steps on an interpolated clip (weights, not positions) | - |
| all | every frame | - |

Letters: T frames, K keyframes. A clip with fewer frames than K shows some of them repeatedly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mer_search.errors import InputError, did_you_mean

Positions = NDArray[np.int64]
Curve = NDArray[np.float32]


@dataclass(frozen=True)
class Evidence:
    """What the methods may look at.

    Attributes:
        frames: T.
        onset, apex, offset: 0-based positions; onset and offset default to the clip's ends.
        curves: name -> per-frame values, [T] (difference, ssim, flow) or [T, n] (kmeans).
    """

    frames: int
    onset: int = 0
    apex: int | None = None
    offset: int | None = None
    curves: dict[str, Curve] = field(default_factory=dict)


NEEDS = {
    **{name: name for name in ("difference", "ssim", "flow", "kmeans")},
    "apex-or-spotted": "difference",
}
"""Method -> the curve it needs."""
ONSET_READERS = frozenset({"difference", "ssim", "apex-or-spotted"})


def select(method: str, count: int, evidence: Evidence) -> Positions:
    """Sorted positions [K] in 0..T-1; `all` gives T of them.

    Raises:
        InputError: an unknown method, an empty clip, `apex` without an annotated apex, or a method
            whose evidence was not computed.
    """
    if method not in METHODS:
        cure = "use tim_weights" if method == "tim" else did_you_mean(method, METHODS)
        raise InputError("features.keyframes.method", f"{method!r} picks no frames; {cure}")
    if evidence.frames < 1 or count < 1:
        raise InputError(
            "features.keyframes",
            f"frames and count must be at least 1, found {evidence.frames} and {count}",
        )
    if method in NEEDS and NEEDS[method] not in evidence.curves:
        raise InputError(
            "features.keyframes.method",
            f"{method!r} needs evidence that was not computed; run `mer-search extract` again",
        )
    if count >= evidence.frames and method not in ("apex", "apex-or-spotted", "all"):
        return _spread(evidence.frames, count)
    found: Positions = np.sort(METHODS[method](count, evidence))
    return found


def _spread(frames: int, count: int) -> Positions:
    """Equal steps from first to last; a single keyframe is the middle one."""
    if count == 1:
        return np.array([(frames - 1) // 2])
    return np.rint(np.linspace(0, frames - 1, count)).astype(np.int64)


def _largest(curve: Curve, count: int) -> Positions:
    """Positions of the largest values; among equals the earlier one."""
    order: Positions = np.argsort(-curve, kind="stable")
    return order[:count]


def _apex(count: int, evidence: Evidence) -> Positions:
    """Half of the keyframes rise from the onset to the apex, half fall to the offset."""
    if evidence.apex is None:
        raise InputError(
            "features.keyframes.method",
            "'apex' needs an annotated apex and this clip has none; use difference or uniform",
        )
    apex, last = evidence.apex, evidence.frames - 1
    onset = min(evidence.onset, apex)
    offset = max(last if evidence.offset is None else evidence.offset, apex)
    rise = np.linspace(onset, apex, count // 2 + 1)
    fall = np.linspace(apex, offset, count - count // 2)
    if count < 3:  # onset and apex, or the apex alone
        return np.array([onset, apex][-count:], np.int64)
    steps: Positions = np.rint(np.concatenate([rise[:-1], fall])).astype(np.int64)
    return steps


def _apex_or_spotted(count: int, evidence: Evidence) -> Positions:
    if evidence.apex is None:
        spotted = int(evidence.curves["difference"].argmax())
        evidence = replace(evidence, apex=spotted)
    return _apex(count, evidence)


def _flow(count: int, evidence: Evidence) -> Positions:
    """Equal shares of the path length: slow stretches get few keyframes, fast ones many."""
    path = np.cumsum(evidence.curves["flow"].astype(np.float64))
    shares = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
    wanted = path[0] + shares * (path[-1] - path[0])
    return _distinct(np.searchsorted(path, wanted - 1e-9), evidence.frames)


def _distinct(positions: NDArray[np.intp], frames: int) -> Positions:
    """Sorted positions pushed apart where two fall together; needs K <= T."""
    count = len(positions)
    steps = np.arange(count)
    risen = np.maximum.accumulate(positions - steps) + steps
    return np.minimum(risen, frames - count + steps).astype(np.int64)


def _kmeans(count: int, evidence: Evidence) -> Positions:
    """The frame nearest to each cluster's centre; equal frames fall back to the largest gaps."""
    from sklearn.cluster import KMeans  # a second to import, and few searches need it

    looks = evidence.curves["kmeans"].astype(np.float64)
    if len(np.unique(looks, axis=0)) < count:
        return _spread(evidence.frames, count)
    found = KMeans(count, n_init=4, random_state=0).fit(looks)
    away = found.transform(looks)
    picked: list[int] = []
    for centre in range(count):  # an emptied cluster may not take another one's frame
        away[picked, centre] = np.inf
        picked.append(int(np.argmin(away[:, centre])))
    return np.array(picked, np.int64)


METHODS: dict[str, Callable[[int, Evidence], Positions]] = {
    "uniform": lambda count, evidence: _spread(evidence.frames, count),
    "apex": _apex,
    "apex-or-spotted": _apex_or_spotted,
    "difference": lambda count, evidence: _largest(evidence.curves["difference"], count),
    "ssim": lambda count, evidence: _largest(evidence.curves["ssim"], count),
    "flow": _flow,
    "kmeans": _kmeans,
    "all": lambda count, evidence: np.arange(evidence.frames),
}


def tim_weights(frames: int, count: int) -> NDArray[np.float64]:
    """Temporal interpolation (Zhou et al. 2011) as weights [K, T] over the frames.

    The method embeds the frames as a path graph whose Laplacian eigenvectors are sampled cosines
    and maps a point of that curve back to an image. For independent frames the map's weights do
    not depend on what the frames show: w(t)[i] = 1/T + 2/T sum_k f_k(t) f_k(i), with
    f_k(t) = cos(pi k (t - 1/2) / T). Used in this closed form it returns frame i at t = i, has no
    matrix that equal neighbours could make singular, and adds no noise.
    """
    if frames < 1 or count < 1:
        raise InputError(
            "features.keyframes", f"frames and count must be at least 1, found {frames}, {count}"
        )
    middle = (frames + 1) / 2
    where = np.array([middle]) if count == 1 else np.linspace(1, frames, count)
    order = np.arange(1, frames)
    curve = np.cos(np.pi * np.outer(where - 0.5, order) / frames)
    nodes = np.cos(np.pi * np.outer(np.arange(1, frames + 1) - 0.5, order) / frames)
    mix: NDArray[np.float64] = 1 / frames + 2 / frames * curve @ nodes.T
    return mix


def basis(
    method: str, *, boundaries: str, onset_known: bool, apex_known: bool = True
) -> Literal["annotated", "spotted"]:
    """Whether keyframes rest on annotations.

    Args:
        method: the keyframe method.
        boundaries: "annotated" where clips are cut to annotated onset..offset (`DataSet`).
        onset_known: whether the clips' onsets are annotated.
        apex_known: whether an apex of any clip is.
    """
    onset = method in ONSET_READERS and onset_known
    reads = method == "apex" or onset or (method == "apex-or-spotted" and apex_known)
    return "annotated" if reads or boundaries == "annotated" else "spotted"
