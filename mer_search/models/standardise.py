"""Statistics of each fold's own training clips. Letters in `architecture.py`; N is all clips."""

from __future__ import annotations

import torch
from torch import Tensor


def standardisation(x: Tensor, training: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [F,D] of each fold's training clips, from x [N,K,R,D], training [F,N].

    Sums in double precision, clip by clip: a common shift would be steadier, but it would carry
    a held-out clip into its fold. A channel that never varies gets deviation 1.
    """
    # Written in place: small results between clips' copies would keep the freed copies apart.
    sums, squares = x.new_zeros((2, len(x), x.shape[-1]), dtype=torch.double)
    for clip, total, square in zip(x, sums, squares, strict=True):
        rows = clip.flatten(0, -2).double()
        torch.sum(rows, 0, out=total)
        torch.sum(rows.square(), 0, out=square)
    share = training.double()
    share = share / (share.sum(1, keepdim=True).clamp(min=1) * x[0, ..., 0].numel())
    mean = share @ sums
    variance = (share @ squares - mean.square()).clamp(min=0)
    flat = variance <= 1e-12 * mean.square()
    return mean.float(), torch.where(flat, 1.0, variance.sqrt()).float()
