"""Where the faces of a data set's clips are, and what the keyframe methods read. Not for networks.

Every entry is computed under its lock and looked up again once the lock is held, so that two
processes filling one cache do the work once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_search.config import Features
from mer_search.datasets.clips import Clip
from mer_search.errors import DamagedRecord, InputError
from mer_search.features import evidence as evidences
from mer_search.features import plan
from mer_search.features.align import Matrix, Placement, looked_at, place, warp
from mer_search.features.cache import Arrays, Cache
from mer_search.features.frames import Frame, read_frames, read_image
from mer_search.features.records import FillReport

log = logging.getLogger(__name__)
CHUNK = 16  # clips whose onset frames are searched for faces together
NO_FACE = (
    "no face was found on the onset frame; show the whole face, or set features.align.method "
    "to none for pictures that are faces already"
)


@dataclass
class Report:
    """Collects what `FillReport` will say; faults and notes by clip key."""

    faults: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    frames: int = 0

    def note(self, clip: Clip, sentence: str) -> None:
        self.notes[f"{clip.key}: {sentence}"] = None

    def finished(self, seconds: float) -> FillReport:
        faults = tuple(f"{key}: {fault}" for key, fault in sorted(self.faults.items()))
        return FillReport(
            faults, tuple(sorted(self.faults)), tuple(self.notes), self.frames, seconds
        )


def look(frames: Sequence[Frame], view: plan.View, matrix: Matrix | None) -> NDArray[Any]:
    """What methods and networks see of frames [T]: faces [T, S, S, 3], or the maps themselves."""
    if view is None:
        return np.stack(frames)
    check_colour(frames[0])
    return warp(frames, matrix, view.size)


def check_colour(frame: Frame) -> None:
    """Refuses maps where faces are expected."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        raise InputError(
            "features.backbone.name",
            f"a face network takes 8-bit colour images, found {frame.dtype} {frame.shape}; "
            "for maps of your own use the backbone patches, features.align.method none and "
            "features.input.kind appearance",
        )


def stored(cache: Cache, key: str, clip: Clip, report: Report, names: Sequence[str]) -> Arrays:
    """Arrays of an entry, {} where there is none; a damaged one is told and counts as absent."""
    try:
        return cache.arrays(key, names) or {}
    except DamagedRecord as damage:
        log.info("%s", damage)  # the note below reaches the user, once
        report.note(clip, "its cache entry was damaged and is computed again")
        return {}


def place_clips(
    clips: Sequence[Clip],
    view: plan.View,
    curves: Collection[str],
    *,
    cache: Cache,
    device: str,
    report: Report,
) -> None:
    """Stores each clip's transform and the named curves, and reports faces that make trouble."""
    finds = view is not None and view.method == "mtcnn"
    wanted = sorted({"matrix", "notes", *curves})
    if not finds and not curves:
        return
    waiting = []
    for clip in clips:
        entry = stored(cache, plan.view_key(clip, view), clip, report, wanted)
        if set(wanted) <= entry.keys():
            _report_face(clip, entry, finds, report)
        else:
            waiting.append(clip)
    for start in range(0, len(waiting), CHUNK):
        chunk = {plan.view_key(clip, view): clip for clip in waiting[start : start + CHUNK]}
        with ExitStack() as locks:
            for key in sorted(chunk):  # one order for all processes: none waits for ever
                locks.enter_context(cache.lock(key))
            _place_chunk(chunk, view, wanted, cache=cache, device=device, report=report)
        for key, clip in chunk.items():
            _report_face(clip, cache.arrays(key, ["matrix", "notes"]) or {}, finds, report)


def unplaced(
    clips: Sequence[Clip], view: plan.View, curves: Collection[str], *, cache: Cache
) -> list[Clip]:
    """Clips that `place_clips` would look at."""
    if not curves and (view is None or view.method != "mtcnn"):
        return []
    wanted = {"matrix", "notes", *curves}
    return [
        clip for clip in clips
        if not wanted <= stored(cache, plan.view_key(clip, view), clip, Report(), [*wanted]).keys()
    ]  # fmt: skip


def onset_face(clip: Clip, features: Features, *, cache: Cache) -> NDArray[np.uint8]:
    """The onset frame of a clip as a face network sees it: uint8 RGB [S,S,3].

    Raises:
        InputError: the frame cannot be read, shows no face, or is no picture of one.
    """
    view, report = plan.view_of(features), Report()
    place_clips([clip], view, (), cache=cache, device="cpu", report=report)
    if report.faults:
        raise InputError(clip.key, report.faults[clip.key])
    matrix = stored(cache, plan.view_key(clip, view), clip, report, ["matrix"]).get("matrix")
    face: NDArray[np.uint8] = look([read_image(clip.frames[plan.onset_of(clip)])], view, matrix)[0]
    return face


def _place_chunk(
    chunk: dict[str, Clip],
    view: plan.View,
    wanted: Sequence[str],
    *,
    cache: Cache,
    device: str,
    report: Report,
) -> None:
    every = [*wanted, *(name for name in evidences.CURVES if name not in wanted)]
    known = {key: stored(cache, key, clip, report, every) for key, clip in chunk.items()}
    left = {key: clip for key, clip in chunk.items() if not set(wanted) <= known[key].keys()}
    unplaced = {key: clip for key, clip in left.items() if "matrix" not in known[key]}
    for key, placement in _placements(unplaced, view, device, report).items():
        told = np.frombuffer(json.dumps(placement.notes).encode(), np.uint8)
        matrix = np.zeros(0) if placement.matrix is None else placement.matrix
        known[key] |= {"matrix": matrix, "notes": told}
    for key, clip in left.items():
        if clip.key in report.faults or "matrix" not in known[key]:
            continue
        missing = [name for name in wanted if name not in known[key]]
        try:
            cache.write(key, known[key] | _curves(clip, view, known[key]["matrix"], missing))
        except InputError as fault:
            report.faults[clip.key] = str(fault)


def _placements(
    chunk: dict[str, Clip], view: plan.View, device: str, report: Report
) -> dict[str, Placement]:
    """The face of each clip, by key; clips whose ends cannot be read become faults."""
    finds = view is not None and view.method == "mtcnn"
    clips = {}
    for key, clip in chunk.items():
        try:
            onset = plan.onset_of(clip)
            first = read_image(clip.frames[onset])
            if view is not None:
                check_colour(first)
            later = looked_at(len(clip.frames), onset, clip.apex)[1:] if finds else []
            clips[key] = {"the onset": first, **_readable(clip, later)}
        except InputError as fault:
            report.faults[clip.key] = str(fault)
    if not finds:
        return {key: Placement(None) for key in clips}
    return dict(zip(clips, place(list(clips.values()), device=device), strict=True))


def _readable(clip: Clip, positions: Sequence[int]) -> dict[str, Frame]:
    """Later frames of a clip by name; the last one has to be readable."""
    frames = {}
    for position in positions:
        path = clip.frames[position]
        try:
            frames[f"frame {position} ({path.name})"] = read_image(path)
        except InputError:
            # Others matter only where a setting uses them, and are a fault of the clip there.
            if position == len(clip.frames) - 1:
                raise
    return frames


def _curves(clip: Clip, view: plan.View, matrix: Matrix, names: Sequence[str]) -> Arrays:
    """Evidence over all frames of a clip; none where no face was found."""
    unplaced = view is not None and view.method == "mtcnn" and not matrix.size
    if not names or unplaced:
        return {name: np.zeros(0, np.float32) for name in names}
    frames = look(read_frames(clip.frames), view, matrix if matrix.size else None)
    return dict(evidences.curves(frames, names, onset=plan.onset_of(clip)))


def _report_face(clip: Clip, entry: Arrays, finds: bool, report: Report) -> None:
    if not entry:
        return
    if finds and not entry["matrix"].size:
        report.faults[clip.key] = NO_FACE
    for note in json.loads(entry["notes"].tobytes()):
        report.note(clip, note)
