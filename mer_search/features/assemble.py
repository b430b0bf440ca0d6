"""Cached embeddings -> a FeatureSet. Opens no image, loads no network, imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np

from mer_search.config import Features, digest_of
from mer_search.datasets.clips import Clip, DataSet
from mer_search.errors import InputError
from mer_search.features import plan
from mer_search.features.augmentation import Version, versions
from mer_search.features.cache import Cache
from mer_search.features.inputs import streams
from mer_search.features.records import FeatureSet, Regions

REGIONS = ("keep", "mean", "flatten")


def feature_set(
    dataset: DataSet,
    features: Features,
    *,
    cache: Cache,
    regions: Regions = "keep",
    weights_sha256: str | None = None,
) -> FeatureSet:
    """All clips' features from the cache, and those of their further versions.

    Args:
        weights_sha256: `plan.identity` of the backbone, where its weights are not on this machine.

    Raises:
        InputError: clips that are not in the cache, that differ in length under `all`, or that
            have maps of different sizes.
        WeightsMissing: the network's weights, whose digest is part of the key, are not here.
        DamagedRecord: an entry is not what was written.
    """
    if regions not in REGIONS:
        raise InputError("regions", f"must be one of {', '.join(REGIONS)}, found {regions!r}")
    if features.keyframes.method == "all":
        _check_lengths(dataset)
    sha256 = plan.identity(features.backbone) if weights_sha256 is None else weights_sha256
    x = _gather(dataset, features, sha256, cache, regions)
    return FeatureSet(
        x=x,
        label=np.array([dataset.classes.index(c.label) for c in dataset.clips], np.int64),
        subject=tuple((clip.dataset, clip.subject) for clip in dataset.clips),
        keys=tuple(clip.key for clip in dataset.clips),
        classes=dataset.classes,
        digest=digest_of([dataset.digest, features.model_dump(mode="json"), sha256, regions]),
        block=_block(features, sha256, cache),
        mirrored=features.augment.flip_scored,
    )


def _block(features: Features, sha256: str, cache: Cache) -> Mapping[str, plan.Rows] | None:
    """What a block that is trained starts from."""
    if features.backbone.trainable == "none":
        return None
    stored = cache.arrays(plan.block_key(features.backbone, sha256))
    if stored is None:
        raise InputError(
            "features",
            f"the last block of {features.backbone.name} is not in the cache {cache.root}; run "
            "`mer-search extract`",
        )
    return stored


def _gather(
    dataset: DataSet, features: Features, sha256: str, cache: Cache, regions: Regions
) -> plan.Rows:
    """[N times versions, K, R, D], filled clip by clip: it is never in memory twice."""
    x = np.zeros((0, 0, 0, 0), np.float32)
    missing: list[str] = []
    shapes: dict[tuple[int, ...], str] = {}
    wanted = list(product(versions(features.augment), dataset.clips))
    for n, (version, clip) in enumerate(wanted):
        one = _clip_features(clip, features, version, sha256, cache, regions)
        if one is None:
            missing.append(clip.key)
            continue
        if not shapes:
            x = np.empty((len(wanted), *one.shape), np.float32)
        shapes.setdefault(one.shape, clip.key)
        if len(shapes) == 1:
            x[n] = one
    if missing:
        raise InputError(
            "features",
            f"{len(set(missing))} of {len(dataset.clips)} clips are not in the cache {cache.root} "
            f"({missing[0]}, ...); run `mer-search extract`",
        )
    if len(shapes) > 1:
        told = ", ".join(f"{key} gives {shape}" for shape, key in list(shapes.items())[:3])
        raise InputError(
            "features", f"clips must have maps of one size, but {told}; make the maps equal"
        )
    return x


def _clip_features(
    clip: Clip,
    features: Features,
    version: Version,
    sha256: str,
    cache: Cache,
    regions: Regions,
) -> plan.Rows | None:
    """[K, R, D], or None where something is missing in the cache."""
    view = plan.view_of(features)
    wanted = plan.curves_needed([features])
    curves = cache.arrays(plan.view_key(clip, view), sorted(wanted)) if wanted else {}
    if curves is None or wanted - curves.keys():
        return None
    evidence = plan.evidence_of(clip, curves)
    needed, readers = set(plan.needed(features, evidence, version)), []
    for stream in streams(features, version):
        key = plan.rows_key(clip, view, features.backbone, sha256, stream)
        reader = _reader(cache, key, needed)
        if reader is None:
            return None
        readers.append(reader)
    return plan.combine(
        lambda positions: np.concatenate([read(positions) for read in readers], -1),
        features,
        evidence,
        regions=regions,
        version=version,
    )


def _reader(
    cache: Cache, key: str, needed: set[int]
) -> Callable[[Sequence[int]], plan.Rows] | None:
    """Positions -> rows of one stream's entry, or None where it lacks a needed one."""
    stored = cache.arrays(key, ["positions"])
    if stored is None:
        return None
    place = {int(position): row for row, position in enumerate(stored["positions"])}
    if not place.keys() >= needed:
        return None
    return lambda positions: cache.rows(key, "rows", [place[p] for p in positions])


def _check_lengths(dataset: DataSet) -> None:
    lengths = {len(clip.frames): clip.key for clip in dataset.clips}
    if len(lengths) > 1:
        told = ", ".join(f"{lengths[n]} has {n}" for n in sorted(lengths)[:3])
        raise InputError(
            "features.keyframes.method",
            f"'all' needs clips of one length, but {told}; choose another method and a count",
        )
