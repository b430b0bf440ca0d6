"""Every model by the name that `model.name` gives it: its bank, its plain form, its size.

A new model is one file with a `Head` and one line here. Letters in `architecture.py`.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import torch

from mer_search.models.architecture import Architecture
from mer_search.models.attention_lstm import AttentionLSTM
from mer_search.models.fold_bank import FoldBank
from mer_search.models.head import Head
from mer_search.models.memory import bytes_per_fold, stacked_bytes_per_fold
from mer_search.models.rivals.cnn3d import CNN3D
from mer_search.models.rivals.elrcn import ELRCN
from mer_search.models.rivals.gru import GRU
from mer_search.models.rivals.majority import Majority
from mer_search.models.rivals.mean_pool import MeanPool
from mer_search.models.rivals.off_apexnet import OFFApexNet
from mer_search.models.rivals.ststnet import STSTNet
from mer_search.models.rivals.svm import LBPTOPSVM, BiWOOFSVM
from mer_search.models.rivals.transformer import Transformer
from mer_search.models.stacked import StackedBank

Plain = AttentionLSTM | Head
Bank = FoldBank | StackedBank
HEADS: dict[str, type[Head]] = {
    "bi-woof-svm": BiWOOFSVM,
    "cnn-3d": CNN3D,
    "elrcn": ELRCN,
    "gru": GRU,
    "lbp-top-svm": LBPTOPSVM,
    "majority": Majority,
    "mean-pool": MeanPool,
    "off-apexnet": OFFApexNet,
    "ststnet": STSTNet,
    "transformer": Transformer,
}
"""All others are the attention-LSTM, with attention or without."""
STACKED_ROOM = 2**26
"""Bytes of a stacked bank's minibatch. Larger tensors leave the cache and are asked of the system
anew at every step: STSTNet's 68 folds at once took twice the time of a few folds after another."""


def build_bank(name: str, folds: int, *, seed: int, **arguments: Any) -> Bank:
    """F models of one name that start from the same weights, which `seed` alone decides.

    Raises:
        InputError: arguments that make no model.
    """
    if name not in HEADS:
        return FoldBank(folds, seed=seed, **arguments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StackedBank(HEADS[name](**arguments), folds)


def build_plain(name: str, **arguments: Any) -> Plain:
    """One model to load weights into; `arguments` are those of a bank's member."""
    return HEADS[name](**arguments) if name in HEADS else AttentionLSTM(**arguments)


def count_parameters(name: str, **arguments: Any) -> int:
    """Trained numbers of one fold's model."""
    if name not in HEADS:
        return sum(math.prod(shape) for shape in Architecture(**arguments).shapes().values())
    return sum(value.numel() for value in _outline(name, arguments).parameters())


def fold_bytes(name: str, *, batch: int, clipped: bool, **arguments: Any) -> int:
    """What one more fold adds to a bank in training."""
    if name in HEADS:
        return stacked_bytes_per_fold(_outline(name, arguments), batch=batch)
    keyframes = arguments["keyframes"]
    return bytes_per_fold(
        Architecture(**arguments), batch=batch, keyframes=keyframes, clipped=clipped
    )


def most_folds(name: str, per_fold: int) -> int:
    """The widest bank that is worth its memory, given what `fold_bytes` says."""
    return max(1, STACKED_ROOM // per_fold) if name in HEADS else sys.maxsize


def _outline(name: str, arguments: dict[str, Any]) -> Head:
    """The module without its numbers."""
    with torch.device("meta"):
        return HEADS[name](**arguments)
