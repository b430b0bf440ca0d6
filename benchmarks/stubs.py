"""What stands in for training where the driver is measured: predictions by chance. No torch."""

from __future__ import annotations

import time

import numpy as np

from mer_search.loso.ledger import FoldBlock
from mer_search.loso.result import Protocol


def stub_block(protocol: Protocol, number: int, index: int, seconds: float = 0.0) -> FoldBlock:
    """A block of trial `number` that took `seconds`."""
    held = protocol.folds.held_out[slice(*protocol.folds.blocks[index])].any(0)
    keys = tuple(protocol.keys[clip] for clip in np.flatnonzero(held))
    probs = np.random.default_rng([number, index]).dirichlet([1.0] * 3, len(keys))
    return FoldBlock(keys, probs.astype(np.float32), 0, seconds, time.time())
