"""One trial: its blocks of folds in order, each trained, predicted and written once.

Not for choosing settings or stopping a trial: whoever asks for the next block decides that.

Letters: N clips, F folds, K keyframes, R regions, D channels, C classes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mer_search.config import Model, Trial
from mer_search.errors import MerSearchError
from mer_search.features.records import FeatureSet, Regions
from mer_search.loso.folds import Folds
from mer_search.loso.ledger import FoldBlock
from mer_search.loso.train import HeldOut, predict, train_bank, widest_bank
from mer_search.models.fold_bank import FoldBank

MEMINFO = Path("/proc/meminfo")
SHARE_OF_FREE = 0.5
"""Part of the free memory one block may plan with; the rest is for neighbours on the machine."""


def regions_of(model: Model) -> Regions:
    """How features are assembled for this model: every region only where it attends to them."""
    return "keep" if "spatial" in model.attention else model.regions


def free_bytes(device: str) -> int:
    """Memory that is free now on the device."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    # Free pages alone would be next to nothing once files were read: Linux keeps them in memory,
    # the feature cache among them, and gives that memory back when it is asked for.
    if MEMINFO.exists():
        rows = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        return int(rows["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def seeds_of(first: int, count: int) -> range:
    """The seeds of `count` trainings of one setting: `first` and those after it."""
    return range(first, first + count)


def averaged(again: Sequence[HeldOut]) -> HeldOut:
    """Means of the probabilities and maps that several trainings gave the same clips."""
    if len(again) == 1:
        return again[0]
    maps: dict[str, NDArray[np.float16]] = {
        name: np.asarray(np.mean([one.maps[name] for one in again], 0, np.float32), np.float16)
        for name in again[0].maps
    }
    probs = np.mean([one.probs for one in again], 0)
    return HeldOut(again[0].clip, again[0].fold, probs, maps)


def _score(
    features: FeatureSet, held_out: NDArray[np.bool_], trial: Trial, *, device: str, seeds: int
) -> HeldOut:
    """The clips that some folds hold out, scored by the mean of `seeds` trainings of each."""
    again, classes, rows = [], len(features.classes), features.rows
    label, kept_out = features.label[rows], held_out[:, rows]
    for seed in seeds_of(trial.train.seed, seeds):
        bank = train_bank(features.x, label, kept_out, model=trial.model, seed=seed,
                          train=trial.train, classes=classes, device=device)  # fmt: skip
        part = predict(bank, features.itself, held_out)
        again.append(replace(part, maps={**part.maps, **occluded(bank, features.itself, part)}))
    return averaged(again)


def run_block(
    features: FeatureSet,
    folds: Folds,
    index: int,
    *,
    trial: Trial,
    device: str = "cpu",
    width: int | None = None,
    says: Callable[[str], None] = lambda sentence: None,
    seeds: int = 1,
) -> FoldBlock:
    """Trains the folds of block `index` and predicts the clips they hold out.

    Args:
        features: assembled with `regions_of(trial.model)`.
        width: folds trained at once; None takes what half of the free memory carries. The
            result does not depend on it. Halved where memory runs out all the same.
        says: hears of that.
        seeds: each fold is trained so many times, from `seeds_of`, and the probabilities averaged.

    Raises:
        InputError: not even one fold fits in memory, or features that are not finite.
        MerSearchError: training diverged.
    """
    begun, (start, stop) = time.perf_counter(), folds.blocks[index]
    classes = len(features.classes)
    if width is None:
        free = int(SHARE_OF_FREE * free_bytes(device))
        shape = features.x.shape
        width = widest_bank(
            free, shape, stop - start, model=trial.model, train=trial.train, classes=classes
        )
    parts: list[HeldOut] = []
    first = start
    while first < stop:
        held_out = folds.held_out[first : min(first + width, stop)]
        part = _trained(features, held_out, trial, device=device, seeds=seeds)
        if part is None:
            width = narrower(len(held_out), device)
            says(f"memory ran out on {device}; went on with {width} folds at once")
            continue
        parts.append(part)
        first += len(held_out)
    clips = np.concatenate([part.clip for part in parts])
    maps = {name: np.concatenate([part.maps[name] for part in parts]) for name in parts[0].maps}
    probs = np.concatenate([part.probs for part in parts])
    if bad := int((~np.isfinite(probs)).any(1).sum()):
        raise MerSearchError(
            f"training diverged: {bad} of {len(probs)} held-out clips have probabilities that are "
            "not numbers; lower train.learning_rate or set train.clip_norm"
        )
    return FoldBlock(
        keys=tuple(features.keys[clip] for clip in clips),
        probs=probs,
        seed=trial.train.seed,
        seconds=time.perf_counter() - begun,
        finished=time.time(),
        maps=maps,
    )


def _trained(
    features: FeatureSet, held_out: NDArray[np.bool_], trial: Trial, *, device: str, seeds: int
) -> HeldOut | None:
    """What `_score` returns; None where memory ran out."""
    try:
        return _score(features, held_out, trial, device=device, seeds=seeds)
    except (MemoryError, RuntimeError) as fault:  # torch tells a full CPU as a plain RuntimeError
        if not isinstance(fault, MemoryError | torch.OutOfMemoryError) and (
            "can't allocate memory" not in str(fault)
        ):
            raise
    if device.startswith("cuda"):
        torch.cuda.empty_cache()  # after the handler: it kept the bank's tensors alive
    return None


def narrower(width: int, device: str) -> int:
    """Half of the folds. Raises MerSearchError when one fold is too many."""
    if width == 1:
        raise MerSearchError(
            f"memory ran out on {device} with one fold; lower train.batch_size or "
            "model.lstm_size, set model.projection, or run fewer trials on one device"
        )
    return (width + 1) // 2


def occluded(
    bank: FoldBank, x: NDArray[np.float32], part: HeldOut
) -> dict[str, NDArray[np.float16]]:
    """Whether the regions that attention favours matter: probabilities without them.

    A region is taken away in all keyframes by giving it the clip's mean over its other regions.

    Args:
        part: what the bank predicted of x [N,K,R,D] with every region there.

    Returns:
        `occluded_top`, `occluded_random` [n,C]: without the region of most weight, and without
        another one drawn at random; nothing where there is no spatial attention over regions.
    """
    weights = part.maps.get("spatial")
    if weights is None or weights.shape[-1] < 2 or not len(part.clip):
        return {}
    rows, regions = np.arange(len(part.clip)), weights.shape[-1]
    top = weights.astype(np.float32).mean(1).argmax(-1)
    other = (top + np.random.default_rng(0).integers(1, regions, len(top))) % regions
    held_out = part.fold == np.arange(int(part.fold.max()) + 1)[:, None]
    found = {}
    for name, region in {"occluded_top": top, "occluded_random": other}.items():
        without = np.array(x[part.clip])
        gone = without[rows, :, region]
        rest = (without.sum(2) - gone) / (regions - 1)
        without[rows, :, region] = rest
        found[name] = predict(bank, without, held_out).probs.astype(np.float16)
    return found
