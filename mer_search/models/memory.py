"""How much memory a bank needs, before it is built. Arithmetic only; measures nothing.

The estimate covers training in fp32: weights and moments, kept gradients, and what the backward
pass needs of one minibatch. Letters in `architecture.py`; N is all clips.
"""

from __future__ import annotations

import math

from mer_search.errors import InputError
from mer_search.models.architecture import Architecture

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


def bytes_shared(architecture: Architecture, *, clips: int, batch: int, keyframes: int) -> int:
    """What all folds need together: the features [N,K,R,D] and two copies of a minibatch."""
    frame = architecture.regions * architecture.channels
    sums = 2 * 2 * clips * architecture.channels
    return FLOAT * ((clips + 2 * batch) * keyframes * frame + sums)


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
