"""Fills the feature cache, and embeds single videos by the same arithmetic.

faces = extract.fill(dataset, settings, cache=Cache.default())
features = extract.feature_set(dataset, settings[0], cache=Cache.default())
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_search import config
from mer_search.datasets.clips import Clip, DataSet
from mer_search.errors import InputError
from mer_search.features import evidence as evidences
from mer_search.features import plan
from mer_search.features.align import Matrix, Placement, locate, looked_at, place
from mer_search.features.assemble import feature_set
from mer_search.features.augmentation import Version, scored
from mer_search.features.backbones import Backbone
from mer_search.features.cache import Cache
from mer_search.features.filling import Embedder, build_backbone
from mer_search.features.frames import Frame
from mer_search.features.inputs import Stream, show, streams
from mer_search.features.keyframes import Evidence
from mer_search.features.last_block import keep_blocks
from mer_search.features.placing import Report, check_colour, look, place_clips, unplaced
from mer_search.features.records import FeatureSet, FillReport, Regions, VideoFeatures

__all__ = ["FeatureSet", "FillReport", "VideoFeatures", "embed_frames", "feature_set", "fill",
           "waiting"]  # fmt: skip
Progress = Callable[[int, int, float], None]
PROBES = 8  # frames of a clip without a face on its onset that are searched for one


def fill(
    dataset: DataSet,
    settings: Sequence[config.Features],
    *,
    cache: Cache,
    device: str = "cpu",
    progress: Progress | None = None,
) -> FillReport:
    """Makes sure that every frame some setting needs is embedded.

    Args:
        dataset: clips with files.
        settings: all feature settings of a search.
        cache: where to put the results; other processes may fill it at the same time.
        device: torch's name of it.
        progress: called with (frames done, frames to do, frames per second).

    Returns:
        Faults of clips that stay without features, and what was done.

    Raises:
        WeightsMissing: a network's weights are not on this machine.
        InputError: a grid that does not divide the maps.
    """
    started, report = perf_counter(), Report()
    embedders = _embedders(settings, cache, report)
    keep_blocks(settings, cache=cache)
    for view in dict.fromkeys(embedder.view for embedder in embedders):
        curves = plan.curves_needed(f for e in embedders if e.view == view for f, _ in e.settings)
        place_clips(dataset.clips, view, curves, cache=cache, device=device, report=report)
    total = sum(embedder.count(dataset.clips) for embedder in embedders)
    begun = perf_counter()

    def told(done: int) -> None:
        if progress:
            progress(done, total, done / max(perf_counter() - begun, 1e-9))

    for embedder in embedders:
        embedder.run(dataset.clips, device=device, told=told)
    return report.finished(perf_counter() - started)


def waiting(
    dataset: DataSet, settings: Sequence[config.Features], *, cache: Cache
) -> tuple[Clip, ...]:
    """Clips of which `fill` would compute something; not those that it could only find faulty.

    Raises:
        WeightsMissing: a network's weights are not on this machine.
    """
    embedders = _embedders(settings, cache, Report())
    lacking: set[str] = set()
    for view in dict.fromkeys(embedder.view for embedder in embedders):
        curves = plan.curves_needed(f for e in embedders if e.view == view for f, _ in e.settings)
        lacking |= {clip.key for clip in unplaced(dataset.clips, view, curves, cache=cache)}
    for embedder in embedders:
        left = [clip for clip in dataset.clips if clip.key not in lacking]
        lacking |= {clip.key for clip in left if embedder.count([clip])}
    return tuple(clip for clip in dataset.clips if clip.key in lacking)


def _embedders(settings: Sequence[config.Features], cache: Cache, report: Report) -> list[Embedder]:
    """One for each view, backbone and stream; missing weights are told before any work."""
    groups: dict[
        tuple[plan.View, config.Backbone, Stream], list[tuple[config.Features, Version]]
    ] = {}
    for features in dict.fromkeys(settings):
        for stream, shown in plan.every(features).items():
            group = groups.setdefault((plan.view_of(features), features.backbone, stream), [])
            group += [(features, version) for version in shown]
    return [
        Embedder(view, backbone, stream, plan.identity(backbone), tuple(members), cache, report)
        for (view, backbone, stream), members in groups.items()
    ]


def embed_frames(
    frames: Sequence[Frame],
    features: config.Features,
    *,
    onset: int = 0,
    apex: int | None = None,
    device: str = "cpu",
    regions: Regions = "keep",
    backbone: Backbone | None = None,
) -> VideoFeatures:
    """The features of one raw clip, equal to those that `fill` and `feature_set` give.

    Args:
        frames: uint8 RGB images [T], all of one size.
        features: the settings.
        onset, apex: 0-based positions, where known.
        device: torch's name of it.
        regions: as in `feature_set`.
        backbone: a network built before, to embed several videos.

    Raises:
        InputError: no frames, frames of different sizes, an onset or apex outside, or no face.
    """
    _check_frames(frames, onset, apex)
    view = plan.view_of(features)
    placement = _place(frames, onset, apex, view, device)
    clip, every, notes = _evidence(frames, features, placement.matrix, onset, apex)
    shown = plan.shown(features, clip)
    used = sorted({*plan.needed(features, clip), *shown})
    sources = [streams(features, version) for version in scored(features.augment)]
    read = sorted({p for s in sources[0] for p in s.reads(used, frames=len(frames), onset=onset)})
    faces = (
        every[read]
        if every is not None
        else look([frames[p] for p in read], view, placement.matrix)
    )
    net = backbone or build_backbone(features.backbone, device=device)
    seen = [[show(faces, read, used, s, onset=onset) for s in version] for version in sources]
    rows = [np.concatenate([net.embed(each) for each in version], -1) for version in seen]

    def combined(rows: NDArray[np.float32], regions: Regions) -> NDArray[np.float32]:
        at = {position: row for row, position in enumerate(used)}
        return plan.combine(lambda p: rows[[at[each] for each in p]], features, clip,
                            regions=regions)  # fmt: skip

    x = np.stack([combined(version, regions) for version in rows])
    mix = combined(np.eye(len(used), dtype=np.float32)[:, None], "keep")
    pictures = evidences.pictures(faces[[read.index(p) for p in shown]])
    told = (*placement.notes, *notes)
    return VideoFeatures(x, shown, pictures, told, tuple(seen[0]), mix[:, 0])


def _place(
    frames: Sequence[Frame], onset: int, apex: int | None, view: plan.View, device: str
) -> Placement:
    """Where the face is; nowhere in particular when the view aligns nothing."""
    if view is None or view.method == "none":
        return Placement(None)
    check_colour(frames[onset])
    looked = {f"frame {p}": frames[p] for p in looked_at(len(frames), onset, apex)}
    placement = place([looked], device=device)[0]
    if placement.matrix is None:
        raise InputError(
            "video",
            f"no face was found on frame {onset} of {len(frames)}, where the face is placed for "
            f"all; {_where_a_face_is(frames, onset, device)}",
        )
    return placement


def _where_a_face_is(frames: Sequence[Frame], onset: int, device: str) -> str:
    """The cure for a clip that begins without a face: the first of some frames that shows one."""
    steps = np.unique(np.linspace(onset, len(frames) - 1, PROBES + 1).round().astype(int))[1:]
    found = locate([frames[step] for step in steps], device=device)
    seen = [step for step, face in zip(steps, found, strict=True) if face.matrix is not None]
    if not seen:
        return "begin where the whole face is visible"
    return f"frame {seen[0]} shows one: cut the clip so that it begins there"


def _evidence(
    frames: Sequence[Frame],
    features: config.Features,
    matrix: Matrix | None,
    onset: int,
    apex: int | None,
) -> tuple[Evidence, NDArray[Any] | None, list[str]]:
    """What the keyframe method reads, the aligned frames if all were needed for it, and notes."""
    names, notes = plan.curves_needed([features]), []
    spotted = features.keyframes.method in ("apex", "apex-or-spotted") and apex is None
    if not names and not spotted:
        return Evidence(len(frames), onset, apex), None, []
    every = look(frames, plan.view_of(features), matrix)
    curves = evidences.curves(every, names | ({"difference"} if spotted else set()), onset=onset)
    if spotted:
        apex = int(curves["difference"].argmax())
        notes.append(f"no apex was given; frame {apex}, most unlike the onset, is taken for it")
    return Evidence(len(frames), onset, apex, None, curves), every, notes


def _check_frames(frames: Sequence[Frame], onset: int, apex: int | None) -> None:
    if not len(frames):
        raise InputError("video", "needs at least one frame, found none")
    sizes = sorted({frame.shape for frame in frames})
    if len(sizes) > 1:
        raise InputError("video", f"frames must have one size, found {sizes[0]} and {sizes[1]}")
    for name, position in (("onset", onset), ("apex", apex)):
        if position is not None and not 0 <= position < len(frames):
            raise InputError("video", f"{name} must lie in 0..{len(frames) - 1}, found {position}")
