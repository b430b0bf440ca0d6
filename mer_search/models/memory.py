"""How much memory a bank needs, before it is built. Arithmetic only; measures nothing.

The estimate covers training in fp32: weights and moments, kept gradients, and what the backward
pass needs of one minibatch. Letters in `architecture.py`; N is all clips.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mer_search.errors import InputError
from mer_search.models.architecture import Architecture
from mer_search.models.head import Head

FLOAT = 4


def bytes_per_fold(
    architecture: Architecture, *, batch: int, keyframes: int, clipped: bool = False
) -> int:
    """What one more fold adds to a bank in training.

    Args:
        batch: clips of a minibatch, B.
        keyframes: K.
        clipped: whether gradients are clipped, which keeps all of them.
    """
    a = architecture
    shapes = a.shapes()
    weights = {name: math.prod(shape) for name, shape in shapes.items()}
    wide = [n for n in shapes if n.startswith("lstm0") and n.endswith("_x") and not a.projection]
    passing = 0 if clipped else sum(weights[name] for name in wide)
    numbers = 4 * sum(weights.values()) - passing
    frames = batch * keyframes
    # Gates, their gradient, what was before them; cell, its tanh, states, their gradient.
    numbers += frames * a.layers * len(a.directions) * a.lstm_size * (3 * 4 + 5)
    if a.spatial:
        numbers += frames * len(a.directions) * (a.regions * (2 * a.attention_size + 3))
        numbers += frames * len(a.directions) * 3 * a.inputs
    if a.projection:
        numbers += 2 * frames * a.regions * a.projection
    return FLOAT * numbers


def stacked_bytes_per_fold(outline: Head, *, batch: int) -> int:
    """The same for any module, from what autograd keeps of a minibatch that has no numbers.

    Args:
        outline: on the device "meta".
    """
    sizes = outline.arguments
    shape = (batch, sizes["keyframes"], sizes["regions"], sizes["channels"])
    kept = 0

    def pack(value: Tensor) -> Tensor:
        nonlocal kept
        kept += value.numel() * value.element_size()
        return value

    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(pack, lambda v: v):
        masks = {n: torch.empty(batch, *s) for n, (rate, s) in outline.dropout().items() if rate}
        outline(torch.empty(shape), masks, torch.ones(batch, dtype=torch.bool))
    weights = sum(value.numel() for value in outline.parameters())
    # Weights, gradient and two moments; the gradient of what is kept lives beside it.
    return FLOAT * (4 * weights + math.prod(shape)) + 2 * kept


def bytes_shared(*, clips: int, batch: int, keyframes: int, regions: int, channels: int) -> int:
    """What all folds need together: the features [N,K,R,D] and two copies of a minibatch."""
    sums = 2 * 2 * clips * channels
    return FLOAT * ((clips + 2 * batch) * keyframes * regions * channels + sums)


def bank_width(free: int, *, folds: int, per_fold: int, shared: int) -> int:
    """The folds of one bank that fits into `free` bytes; `folds` is cut into equal banks.

    Raises:
        InputError: when not even one fold fits.
    """
    fits = (free - shared) // per_fold
    if fits < 1:
        raise InputError(
            "memory",
            f"one fold needs {(shared + per_fold) / 2**30:.2f} GB and {free / 2**30:.2f} GB are "
            "free; choose fewer trials at once, a smaller batch_size or lstm_size, or a projection",
        )
    return math.ceil(folds / math.ceil(folds / fits))
