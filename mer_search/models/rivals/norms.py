"""Normalisation over clips that sees only the clips its fold learns from.

Letters in `architecture.py`; y is [B,Q, ...] with Q channels of a layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OwnNorm(nn.Module):
    """BatchNorm (Ioffe & Szegedy 2015, algorithms 1 and 2) with PyTorch's names and defaults.

    In training the statistics are those of the clips of the minibatch that the fold does not
    hold out, and running ones are kept of the same; without `own` the running ones are used.
    Each clip is summed up by itself first, so that held-out ones are left out, not multiplied by
    0 (0 times infinity would not be 0), and so that no copy of y is made.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, size: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))

    def forward(self, y: Tensor, own: Tensor | None = None) -> Tensor:
        """y [B,Q, ...] normalised; `own` [B] in training."""
        each = (1, -1, *[1] * (y.dim() - 2))
        mean, var = self.running_mean, self.running_var
        if own is not None:
            mean, var = self._statistics(y, own)
        scale = self.weight * (var + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return torch.addcmul(shift.view(each), y, scale.view(each))

    def _statistics(self, y: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance [Q] of own clips; the running ones move towards them.

        The variance comes from sums of squares, several times faster than Welford's: after a first
        convolution of standardised maps no mean is large beside its deviation.
        """
        pixels = y[0, 0].numel()
        clips, kept = own.sum(), own[:, None]
        rows = y.flatten(2) if y.dim() > 2 else y.unsqueeze(2)
        own_clips = clips.clamp(min=1)
        mean = torch.where(kept, rows.mean(2), 0.0).sum(0) / own_clips
        squares = torch.where(kept, rows.square().mean(2), 0.0).sum(0) / own_clips
        var = (squares - mean.square()).clamp(min=0)
        with torch.no_grad():
            # A minibatch without a clip of its own moves nothing.
            share, values = self.momentum * (clips > 0), clips * pixels
            unbiased = var * values / (values - 1).clamp(min=1)
            self.running_mean.add_(share * (mean - self.running_mean))
            self.running_var.add_(share * (unbiased - self.running_var))
        return mean, var
