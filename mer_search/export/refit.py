"""Trains a trial's settings on all subjects, by the code that trains a fold. Not for scores.

Letters: N clips, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mer_search.config import Trial
from mer_search.datasets.clips import DataSet
from mer_search.errors import InputError, MerSearchError
from mer_search.features import plan
from mer_search.features.cache import Cache
from mer_search.features.extract import feature_set, fill
from mer_search.features.records import FeatureSet
from mer_search.loso.folds import everything
from mer_search.loso.run import regions_of
from mer_search.loso.train import predict_all, train_bank
from mer_search.models.attention_lstm import AttentionLSTM


@dataclass(frozen=True)
class Refit:
    """A model that has seen every subject.

    Attributes:
        head: the plain module, on the CPU.
        features: what it was trained on.
        weights_sha256: of the face network that gave the features.
        frames: of the shortest and the longest clip.
        probs: the trainer's own probabilities of the training clips [N, C]: what an exported
            model must give again, never a score.
    """

    head: AttentionLSTM
    features: FeatureSet
    weights_sha256: str
    frames: tuple[int, int]
    probs: NDArray[np.float32]


def refit(dataset: DataSet, trial: Trial, *, cache: Cache, device: str = "cpu") -> Refit:
    """Trains on every clip of `dataset`; features that the cache lacks are extracted.

    Raises:
        InputError: clips that cannot be used, all of them named.
        WeightsMissing: the face network's weights are not on this machine.
        MerSearchError: training diverged.
    """
    report = fill(dataset, [trial.features], cache=cache, device=device)
    if report.faults:
        raise InputError("features", report.faults)
    features = feature_set(dataset, trial.features, cache=cache, regions=regions_of(trial.model))
    bank = train_bank(
        features.x,
        features.label,
        everything(len(features.label)).held_out,
        model=trial.model,
        train=trial.train,
        classes=len(features.classes),
        device=device,
    )
    probs = predict_all(bank, features.x)[0]
    if bad := int((~np.isfinite(probs)).any(1).sum()):
        raise MerSearchError(
            f"training on all subjects diverged: {bad} of {len(probs)} clips have probabilities "
            "that are not numbers; export another trial with --trial"
        )
    lengths = [len(clip.frames) for clip in dataset.clips]
    return Refit(
        head=bank.member(0).cpu(),
        features=features,
        weights_sha256=plan.identity(trial.features.backbone),
        frames=(min(lengths), max(lengths)),
        probs=probs,
    )
