"""One trial: its blocks of folds in order, each trained, predicted and written once.

Not for choosing settings or stopping a trial: whoever asks for the next block decides that.

Letters: N clips, F folds, K keyframes, R regions, D channels, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from mer_search.config import Trial
from mer_search.errors import MerSearchError
from mer_search.features.records import FeatureSet
from mer_search.loso import fine_tune, occlusion
from mer_search.loso.averages import averaged, both_ways
from mer_search.loso.folds import Folds
from mer_search.loso.ledger import FoldBlock
from mer_search.loso.memory import narrower, plan
from mer_search.loso.regions import regions_of as regions_of
from mer_search.loso.train import HeldOut, predict, train_bank
from mer_search.models.catalogue import Bank


def seeds_of(first: int, count: int) -> range:
    """The seeds of `count` trainings of one setting: `first` and those after it."""
    return range(first, first + count)


def _score(
    features: FeatureSet, held_out: NDArray[np.bool_], trial: Trial, *, device: str, seeds: int
) -> HeldOut:
    """The clips that some folds hold out, scored by the mean of `seeds` trainings of each."""
    again, classes, rows = [], len(features.classes), features.rows
    label, kept_out = features.label[rows], held_out[:, rows]
    for seed in seeds_of(trial.train.seed, seeds):
        if features.block is not None:
            again.append(fine_tune.score(features, held_out, trial, device=device, seed=seed))
            continue
        bank = train_bank(features.x, label, kept_out, model=trial.model, seed=seed,
                          train=trial.train, classes=classes, device=device)  # fmt: skip
        again.append(both_ways([_answers(bank, x, held_out) for x in features.scored]))
    return averaged(again)


def _answers(bank: Bank, x: NDArray[np.float32], held_out: NDArray[np.bool_]) -> HeldOut:
    """What the bank says of held-out clips of x [N,K,R,D], with and without their regions."""
    part = predict(bank, x, held_out)
    return replace(part, maps={**part.maps, **occluded(bank, x, part)})


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
        width: folds trained at once, halved where memory runs out all the same; None asks
            `memory.plan`. The result does not depend on it.
        says: hears of halving.
        seeds: trainings of each fold, from `seeds_of`, whose probabilities are averaged.

    Raises:
        InputError: not even one fold fits in memory, or features that are not finite.
        MerSearchError: training diverged.
    """
    begun, held_out = time.perf_counter(), folds.held_out[slice(*folds.blocks[index])]
    width = width or plan(features, len(held_out), trial, device=device).width

    def train(rows: NDArray[np.bool_]) -> HeldOut | None:
        return _trained(features, rows, trial, device=device, seeds=seeds)

    found = _joined(_in_banks(held_out, width, train, device=device, says=says))
    _check_finite(found)
    return FoldBlock(
        keys=tuple(features.keys[clip] for clip in found.clip),
        probs=found.probs,
        seed=trial.train.seed,
        seconds=time.perf_counter() - begun,
        finished=time.time(),
        maps=found.maps,
    )


def _check_finite(found: HeldOut) -> None:
    if bad := int((~np.isfinite(found.probs)).any(1).sum()):
        raise MerSearchError(
            f"training diverged: {bad} of {len(found.probs)} held-out clips have probabilities "
            "that are not numbers; lower train.learning_rate or set train.clip_norm"
        )


def _in_banks(
    held_out: NDArray[np.bool_],
    width: int,
    train: Callable[[NDArray[np.bool_]], HeldOut | None],
    *,
    device: str,
    says: Callable[[str], None],
) -> Iterator[HeldOut]:
    """Each `width` folds of held_out [F,N] trained together, fewer once memory ran out."""
    first = 0
    while first < len(held_out):
        rows = held_out[first : first + width]
        part = train(rows)
        if part is None:
            width = narrower(len(rows), device)
            says(f"memory ran out on {device}; went on with {width} folds at once")
            continue
        yield part
        first += len(rows)


def _joined(banks: Iterable[HeldOut]) -> HeldOut:
    """The clips of one bank after the other; fold numbers stay those of each bank."""
    parts = list(banks)
    return HeldOut(
        clip=np.concatenate([part.clip for part in parts]),
        fold=np.concatenate([part.fold for part in parts]),
        probs=np.concatenate([part.probs for part in parts]),
        maps={name: np.concatenate([part.maps[name] for part in parts]) for name in parts[0].maps},
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


def occluded(bank: Bank, x: NDArray[np.float32], part: HeldOut) -> dict[str, NDArray[np.float16]]:
    """Whether the regions that attention favours matter: probabilities without them.

    Args:
        part: what the bank predicted of x [N,K,R,D] with every region there.

    Returns:
        `occluded_top`, `occluded_random` [n,C]: without the region of most weight, and without
        another one drawn at random; nothing where there is no spatial attention over regions.
    """
    gone = occlusion.chosen(part.maps.get("spatial"))
    held_out = part.fold == np.arange(int(part.fold.max(initial=0)) + 1)[:, None]
    return {
        name: predict(bank, occlusion.without(x[part.clip], region), held_out).probs.astype("f2")
        for name, region in gone.items()
    }
