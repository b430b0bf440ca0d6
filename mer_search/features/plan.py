"""What a clip's features are made of: cache keys, evidence needed, frames needed. Not for pixels.

A *view* is what the methods look at: faces aligned by `Align`, or the clip's own maps (None).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mer_search.config import NUMERICS_VERSION, Align, Backbone, Features
from mer_search.datasets.clips import Clip, DataSet
from mer_search.features import weights
from mer_search.features.augmentation import Version, jittered, versions
from mer_search.features.inputs import Stream, streams
from mer_search.features.keyframes import NEEDS, Curve, Evidence, select, tim_weights
from mer_search.features.records import Regions

View = Align | None
PLAIN, ITSELF = Stream(), Version()
Rows = NDArray[np.float32]


def view_of(features: Features) -> View:
    """Maps that are cut into patches are taken as they are."""
    return features.align if features.of_faces else None


def identity(backbone: Backbone) -> str:
    """What stands for the network's weights in a key.

    Raises:
        WeightsMissing: if they are not on this machine.
    """
    if backbone.name == "patches":
        return "none"
    return "random" if backbone.weights == "random" else weights.sha256_of(backbone.name)


def view_key(clip: Clip, view: View) -> str:
    """Key of a clip's face position and evidence."""
    return _digest("view", clip.digest, onset_of(clip), view and view.model_dump())


def rows_key(
    clip: Clip, view: View, backbone: Backbone, weights_sha256: str, stream: Stream = PLAIN
) -> str:
    """Key of a clip's embedded frames."""
    unused = {"weights"} if backbone.name == "patches" else {"grid"}
    settings = backbone.frozen.model_dump(exclude=unused)
    shown = [] if stream.plain else [stream.content]
    return _digest("rows", view_key(clip, view), settings, weights_sha256, *shown)


def block_key(backbone: Backbone, weights_sha256: str) -> str:
    """Key of the weights from which a network's last block goes on to be trained."""
    return _digest("block", backbone.name, backbone.layer, weights_sha256)


def _digest(*content: object) -> str:
    text = json.dumps([NUMERICS_VERSION, *content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def keys(
    dataset: DataSet, settings: Iterable[Features], *, weights_sha256: str | None = None
) -> set[str]:
    """All cache keys that these settings use: what `Cache.clean` has to keep.

    Args:
        weights_sha256: `identity` of the backbone, where its weights are not on this machine.
    """
    found = set()
    for features in settings:
        view = view_of(features)
        sha256 = identity(features.backbone) if weights_sha256 is None else weights_sha256
        if features.backbone.trainable != "none":
            found.add(block_key(features.backbone, sha256))
        for clip in dataset.clips:
            found.add(view_key(clip, view))
            found |= {rows_key(clip, view, features.backbone, sha256, s) for s in every(features)}
    return found


def every(features: Features) -> dict[Stream, list[Version]]:
    """All streams that the clip and its further versions show, each with those versions."""
    found: dict[Stream, list[Version]] = {}
    for version in versions(features.augment):
        for stream in streams(features, version):
            found.setdefault(stream, []).append(version)
    return found


def onset_of(clip: Clip) -> int:
    """The onset's position; a clip without an annotated one starts with it."""
    return clip.onset or 0


def curves_needed(settings: Iterable[Features]) -> set[str]:
    """Names of the evidence curves that the keyframe methods read."""
    methods = {features.keyframes.method for features in settings}
    return {curve for method, curve in NEEDS.items() if method in methods}


def evidence_of(clip: Clip, curves: dict[str, Curve]) -> Evidence:
    """A clip's annotations and curves together."""
    return Evidence(len(clip.frames), onset_of(clip), clip.apex, clip.offset, curves)


def needed(features: Features, evidence: Evidence, version: Version = ITSELF) -> list[int]:
    """Positions of the frames that have to be embedded, ascending."""
    if features.keyframes.method in ("tim", "all"):
        return list(range(evidence.frames))
    found = set(shown(features, evidence, version))
    if features.reference == "onset":
        found.add(evidence.onset)
    return sorted(found)


def shown(features: Features, evidence: Evidence, version: Version = ITSELF) -> list[int]:
    """Keyframe positions [K]; for interpolated ones the nearest frames."""
    method, count = features.keyframes.method, features.keyframes.count
    if method == "tim":
        return [int(row.argmax()) for row in tim_weights(evidence.frames, count)]
    positions = select(method, count, evidence)
    if version.jitter:
        positions = jittered(positions, evidence.frames, version.jitter)
    return [int(position) for position in positions]


def combine(
    rows_at: Callable[[Sequence[int]], Rows],
    features: Features,
    evidence: Evidence,
    *,
    regions: Regions,
    version: Version = ITSELF,
) -> Rows:
    """One clip's features [K, R, D] from its embedded frames.

    Args:
        rows_at: positions [n] -> embeddings [n, R, D].
        features: the settings.
        evidence: of this clip.
        regions: "mean" gives R = 1; "flatten" gives R = 1 and D times R channels.
        version: which key frames, where a further version of the clip has others.

    Returns:
        [K, R, D]; where a block is trained on, what enters it, with the onset's as row K where it
        will be subtracted.
    """
    if features.keyframes.method == "tim":
        mix = tim_weights(evidence.frames, features.keyframes.count).astype(np.float32)
        x = np.tensordot(mix, rows_at(range(evidence.frames)), axes=1)
    elif features.backbone.trainable != "none":  # the rest is the trained block's, after it
        onset = [evidence.onset] if features.reference == "onset" else []
        return rows_at([*shown(features, evidence, version), *onset])
    else:
        x = rows_at(shown(features, evidence, version))
    if features.reference == "onset":
        x = x - rows_at([evidence.onset])
    if regions == "mean":
        x = x.mean(1, keepdims=True)
    return x.reshape(len(x), 1, -1) if regions == "flatten" else x
