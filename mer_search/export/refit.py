"""Trains a trial's settings on all subjects by the code that trains a fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mer_search.config import Trial
from mer_search.features.records import FeatureSet
from mer_search.loso.folds import everything
from mer_search.loso.train import predict_all, train_bank
from mer_search.models.attention_lstm import AttentionLSTM


@dataclass(frozen=True)
class Refit:
    """What all subjects gave.

    Attributes:
        head: the plain module, on the CPU.
        probs: the trainer's own probabilities of the training clips [N, C], to check exports.
    """

    head: AttentionLSTM
    probs: NDArray[np.float32]


def refit(features: FeatureSet, trial: Trial, *, device: str = "cpu") -> Refit:
    """Trains on every clip of features assembled with `regions_of(trial.model)`."""
    bank = train_bank(
        features.x,
        features.label,
        everything(len(features.label)).held_out,
        model=trial.model,
        train=trial.train,
        classes=len(features.classes),
        device=device,
    )
    return Refit(bank.member(0).cpu(), predict_all(bank, features.x)[0])
