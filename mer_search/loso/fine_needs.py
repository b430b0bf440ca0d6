"""What training a fold's last block asks for, measured before it starts. Not for deciding."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from mer_search.loso.fine_tune import FineTuning

FLOAT = 4


@dataclass(frozen=True)
class Needs:
    """What one fold asks for.

    Attributes:
        shared: bytes of the features.
        fold: bytes of weights, gradients, moments and activations.
    """

    shared: int
    fold: int


def bytes_of(tuning: FineTuning) -> Needs:
    """Memory of one fold: the activations of one clip are counted, the rest is arithmetic."""
    clips, rows = len(tuning.x), tuning.x.shape[1]
    batch = min(tuning.train.batch_size, clips)
    numbers = sum(p.numel() for p in tuning.first.parameters())
    kept, out = _activations(tuning)
    if tuning.train.checkpointing:  # one key frame's, their gradients, and what leaves the block
        kept = 2 * kept // rows + 2 * FLOAT * out
    entering = FLOAT * tuning.x[0].numel()
    # Three copies of the weights (the first, the fold's, its gradient) and two moments.
    fold = FLOAT * 5 * numbers + batch * (kept + 2 * entering)
    standardised = FLOAT * clips * out
    shared = standardised + (clips * entering if tuning.device.type == "cpu" else 0)
    return Needs(shared, fold)


def _activations(tuning: FineTuning) -> tuple[int, int]:
    """Bytes that the backward pass of one clip keeps, and numbers that leave the block for it."""
    model = copy.deepcopy(tuning.first).train()
    model.checkpointing = False
    weights, saved = {p.data_ptr() for p in model.parameters()}, 0

    def keep(value: Tensor) -> Tensor:
        nonlocal saved
        saved += 0 if value.data_ptr() in weights else value.numel() * value.element_size()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        rows = model.rows(tuning.x[:1])
        model.head(rows)
    return saved, rows.numel()


def seconds_of(tuning: FineTuning) -> float:
    """Time of one fold: that of its second step, as often as it will be done."""
    model = copy.deepcopy(tuning.first).to(tuning.device).train()
    optimiser, own = tuning.optimiser(model), torch.ones(len(tuning.x), dtype=torch.bool)
    even, took = torch.ones(tuning.classes), 0.0
    for _ in range(2):  # the first one asks for memory
        begun = time.perf_counter()
        tuning.step(model, optimiser, 0, own=own, weights=even)
        if tuning.device.type == "cuda":
            torch.cuda.synchronize(tuning.device)
        took = time.perf_counter() - begun
    return took * tuning.steps
