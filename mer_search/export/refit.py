"""Trains a trial's settings on all subjects, by the code that trains a fold. Not for scores.

Letters: N clips, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_search.config import Trial
from mer_search.datasets.clips import DataSet
from mer_search.errors import InputError, MerSearchError
from mer_search.features import plan
from mer_search.features.backbones import INPUTS
from mer_search.features.cache import Cache
from mer_search.features.extract import feature_set, fill
from mer_search.features.frames import read_frames
from mer_search.features.inputs import streams
from mer_search.features.records import FeatureSet
from mer_search.loso.fine_tune import FineTuning
from mer_search.loso.fine_tune import answers as answers_of
from mer_search.loso.folds import everything
from mer_search.loso.run import regions_of, seeds_of
from mer_search.loso.train import predict_all, train_bank
from mer_search.models.ensemble import Ensemble, Member


@dataclass(frozen=True)
class Refit:
    """A model that has seen every subject.

    Attributes:
        head: the plain modules, one per seed, on the CPU.
        seeds: that they were trained from.
        features: what it was trained on.
        weights_sha256: of the face network that gave the features.
        frames: of the shortest and the longest clip.
        probs: the trainer's own probabilities of the training clips [N, C]: what an exported
            model must give again, never a score.
        example: the first clip's first frame [1, ...], as the network takes it.
    """

    head: Ensemble
    seeds: tuple[int, ...]
    features: FeatureSet
    weights_sha256: str
    frames: tuple[int, int]
    probs: NDArray[np.float32]
    example: NDArray[Any]


def refit(
    dataset: DataSet, trial: Trial, *, cache: Cache, device: str = "cpu", seeds: int = 1
) -> Refit:
    """Trains on every clip of `dataset`; features that the cache lacks are extracted.

    Args:
        seeds: trainings, whose probabilities are averaged.

    Raises:
        InputError: clips that cannot be used, all of them named.
        WeightsMissing: the face network's weights are not on this machine.
        MerSearchError: training diverged.
    """
    report = fill(dataset, [trial.features], cache=cache, device=device)
    if report.faults:
        raise InputError("features", report.faults)
    features = feature_set(dataset, trial.features, cache=cache, regions=regions_of(trial.model))
    chosen = tuple(seeds_of(trial.train.seed, seeds))
    members, answers = zip(
        *(_member(features, trial, seed, device=device) for seed in chosen), strict=True
    )
    probs = np.mean(answers, 0)
    _check_finite(probs)
    lengths = [len(clip.frames) for clip in dataset.clips]
    return Refit(
        head=Ensemble(members),
        seeds=chosen,
        features=features,
        weights_sha256=plan.identity(trial.features.backbone),
        frames=(min(lengths), max(lengths)),
        probs=probs,
        example=_example(dataset, trial),
    )


def _member(
    features: FeatureSet, trial: Trial, seed: int, *, device: str
) -> tuple[Member, NDArray[np.float32]]:
    """A module trained on every clip, on the CPU, and its probabilities of them [N, C]."""
    if features.block is not None:
        nothing = everything(len(features.keys)).held_out
        (tuned,) = FineTuning(features, trial, device=device, seed=seed).folds(nothing)
        views = [answers_of(tuned, x)[0] for x in features.scored]
        return tuned.cpu(), np.mean(views, 0)
    bank = train_bank(
        features.x,
        features.label[features.rows],
        everything(len(features.x)).held_out,
        model=trial.model,
        train=trial.train,
        classes=len(features.classes),
        device=device,
        seed=seed,
    )
    views = [predict_all(bank, x)[0] for x in features.scored]
    return bank.member(0).cpu(), np.mean(views, 0)


def _check_finite(probs: NDArray[np.float32]) -> None:
    if bad := int((~np.isfinite(probs)).any(1).sum()):
        raise MerSearchError(
            f"training on all subjects diverged: {bad} of {len(probs)} clips have probabilities "
            "that are not numbers; export another trial with --trial"
        )


def _example(dataset: DataSet, trial: Trial) -> NDArray[Any]:
    """A frame of the type and size that the network takes; for faces any pixels do.

    Streams lie side by side in the channels.
    """
    channels = 3 * len(streams(trial.features))
    if expects := INPUTS.get(trial.features.backbone.name):
        return np.zeros((1, expects.size, expects.size, channels), np.uint8)
    if trial.features.of_faces:
        return np.zeros((1, *(trial.features.input.size,) * 2, channels), np.float32)
    return np.stack(read_frames(dataset.clips[0].frames[:1]))
