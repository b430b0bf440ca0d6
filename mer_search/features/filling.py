"""Which frames a network still has to see, and their embedding. Not for placing faces.

As in `placing`, an entry is computed under its lock and looked up again once the lock is held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from filelock import Timeout
from numpy.typing import NDArray

from mer_search import config
from mer_search.datasets.clips import Clip
from mer_search.errors import InputError
from mer_search.features import plan
from mer_search.features.align import Matrix
from mer_search.features.augmentation import Version
from mer_search.features.backbones import Backbone, build
from mer_search.features.cache import Cache
from mer_search.features.frames import read_frames
from mer_search.features.inputs import Stream, show
from mer_search.features.placing import Report, look, stored

log = logging.getLogger(__name__)
SLOW_BF16 = (
    "precision bf16: this processor has no bf16 instructions, so bf16 will be several times slower "
    "than fp32 here; set features.backbone.precision to fp32, or extract where there are some"
)


def multiplies_bf16(device: str) -> bool:
    """Whether a device has bf16 instructions; of processors oneDNN knows."""
    if torch.device(device).type != "cpu":
        return True
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def warn_of_bf16() -> None:
    """Says once, before the wait, that bf16 is slow here; a report's notes come after it."""
    log.warning(SLOW_BF16)


def build_backbone(settings: config.Backbone, *, device: str = "cpu") -> Backbone:
    """The backbone that settings describe, as far as it is frozen."""
    return build(
        settings.name,
        str(settings.frozen.layer),
        grid=settings.grid,
        pretrained=settings.weights == "pretrained",
        precision=settings.precision,
        device=device,
    )


@dataclass
class Embedder:
    """One view, backbone and stream: which frames of which clips are missing; their embedding.

    `settings` come with the versions of a clip that show this stream.
    """

    view: plan.View
    backbone: config.Backbone
    stream: Stream
    sha256: str
    settings: tuple[tuple[config.Features, Version], ...]
    cache: Cache
    report: Report

    def count(self, clips: Sequence[Clip]) -> int:
        """Frames that have to be embedded; clips that a setting cannot serve become faults."""
        return sum(len(self._missing(clip)) for clip in clips)

    def run(self, clips: Sequence[Clip], *, device: str, told: Callable[[int], None]) -> None:
        """Embeds what is missing; clips that another process works on come last."""
        waiting = [clip for clip in clips if self._missing(clip)]
        if not waiting:
            return
        if self.backbone.precision == "bf16" and not multiplies_bf16(device):
            warn_of_bf16()
        net = build_backbone(self.backbone, device=device)
        held = []
        for clip in waiting:
            try:
                with self.cache.lock(self._key(clip)).acquire(blocking=False):
                    self._embed(clip, net)
            except Timeout:
                held.append(clip)
            told(self.report.frames)
        for clip in held:
            with self.cache.lock(self._key(clip)):
                self._embed(clip, net)
            told(self.report.frames)

    def _key(self, clip: Clip) -> str:
        return plan.rows_key(clip, self.view, self.backbone, self.sha256, self.stream)

    def _missing(self, clip: Clip) -> list[int]:
        """Positions that some setting needs and the cache lacks, ascending."""
        if clip.key in self.report.faults:
            return []
        wanted: set[int] = set()
        names = sorted(plan.curves_needed(features for features, _ in self.settings))
        curves = self.cache.arrays(plan.view_key(clip, self.view), names) if names else {}
        evidence = plan.evidence_of(clip, curves or {})
        try:
            for features, version in self.settings:
                wanted.update(plan.needed(features, evidence, version))
        except InputError as fault:
            self.report.faults[clip.key] = str(fault)
            return []
        entry = stored(self.cache, self._key(clip), clip, self.report, ["positions"])
        return sorted(wanted.difference(entry.get("positions", np.zeros(0)).tolist()))

    def _embed(self, clip: Clip, net: Backbone) -> None:
        """Adds the missing frames to the clip's entry; called with its lock held."""
        missing = self._missing(clip)
        if not missing:
            return
        try:
            seen = self._shown(clip, missing)
        except InputError as fault:
            self.report.faults[clip.key] = str(fault)
            return
        rows = net.embed(seen)  # what it refuses is a setting, not this clip
        positions = np.array(missing, np.int64)
        older = stored(self.cache, self._key(clip), clip, self.report, ["positions", "rows"])
        if older:
            positions = np.concatenate([older["positions"], positions])
            rows = np.concatenate([older["rows"], rows])
        order = np.argsort(positions)
        self.cache.write(self._key(clip), {"positions": positions[order], "rows": rows[order]})
        self.report.frames += len(missing)

    def _shown(self, clip: Clip, wanted: list[int]) -> NDArray[Any]:
        """What the network sees of the wanted frames [n, ...]."""
        onset = plan.onset_of(clip)
        read = self.stream.reads(wanted, frames=len(clip.frames), onset=onset)
        frames = read_frames([clip.frames[position] for position in read])
        faces = look(frames, self.view, self._matrix(clip))
        return show(faces, read, wanted, self.stream, onset=onset, clip=clip.digest)

    def _matrix(self, clip: Clip) -> Matrix | None:
        if self.view is None or self.view.method == "none":
            return None
        entry = self.cache.arrays(plan.view_key(clip, self.view), ["matrix"]) or {}
        return entry["matrix"]
