"""What the first layers of a bank read: one minibatch for all folds, or one per fold.

A shared minibatch is raw: each fold's standardisation is absorbed by the matrix it meets, so
that no fold needs a copy of the clips. Letters in `architecture.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mer_search.models.wide import Take, Wide

Mixer = Callable[[int, Tensor], Tensor]


class PerFold:
    """Inputs that differ by fold already: x [F,B,K,R,P]."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        # Indexing by t would fill a zero gradient of all keyframes for each of them.
        self.frames = x.unbind(2)

    def times(self, w: Tensor, b: Tensor) -> Tensor:
        """The product [F,B,K,R,n] with w [F,P,n], plus b [F,n]."""
        y = torch.baddbmm(b[:, None], self.x.flatten(1, 3), w)
        return torch.unflatten(y, 1, self.x.shape[1:4])

    def keyer(self, w: Tensor) -> Callable[[int], Tensor]:
        """Of keyframe t: its regions times w [F,P,n], as [F,B,R,n]."""
        return lambda t: torch.unflatten(
            self.frames[t].flatten(1, 2) @ w, 1, self.frames[t].shape[1:3]
        )

    def mixer(self, w: Tensor, take: Take | None) -> Mixer:
        """Of keyframe t and weights alpha [F,B,R]: the mean of its regions times w, [F,B,n]."""
        return lambda t, alpha: (alpha.unsqueeze(-2) @ self.frames[t]).squeeze(-2) @ w


@dataclass(frozen=True)
class Shared:
    """Raw features x [B,K,R,D] for all folds, standardised by mean and std [F,D].

    `mask` [B,D] drops standardised channels, for all keyframes and regions of a clip. Where
    there are more rows than columns, standardisation is absorbed by the matrix,
    `(x - mean) / std @ w = x @ (w / std) - mean @ (w / std)`, and no fold copies the clips.
    """

    x: Tensor
    mean: Tensor
    std: Tensor
    mask: Tensor | None = None

    def times(self, w: Tensor, b: Tensor) -> Tensor:
        """As `PerFold.times`."""
        absorbed = self._absorb(w, b)
        return torch.stack([self._product(t, *absorbed) for t in range(self.x.shape[1])], 2)

    def keyer(self, w: Tensor) -> Callable[[int], Tensor]:
        """As `PerFold.keyer`: one keyframe at a time stays in the cache."""
        absorbed = self._absorb(w, w.new_zeros(len(w), w.shape[2]))
        return lambda t: self._product(t, *absorbed)

    def _absorb(self, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Matrix [D,F*n] and offset [1,F,n], or [B,F,n] under a mask, for raw (masked) rows."""
        w = w / self.std[:, :, None]
        mean = self.mean[:, None] if self.mask is None else self.mean[:, None] * self.mask
        offset = b[:, None] - mean @ w
        return w.transpose(0, 1).flatten(1), offset.transpose(0, 1)

    def _product(self, t: int, w: Tensor, offset: Tensor) -> Tensor:
        """[F,B,R,n] of keyframe t: one product for all folds, several times faster than F."""
        frame = self.x[:, t] if self.mask is None else self.x[:, t] * self.mask[:, None]
        y = torch.unflatten(frame.flatten(0, 1) @ w, 0, frame.shape[:2])
        y = torch.unflatten(y, -1, offset.shape[1:]) + offset[:, None]
        return y.permute(2, 0, 1, 3).contiguous()

    def wide(self, w: Tensor, take: Take | None) -> Wide:
        """For products with w [F,D,n] where rows, K times B of them, are fewer than columns."""
        mask = self.mask
        if mask is not None:
            mask = mask.repeat(self.x.shape[1], 1)
        return Wide(w, self.mean, 1 / self.std, mask, take)

    def mixer(self, w: Tensor, take: Take | None) -> Mixer:
        """As `PerFold.mixer`: weights that sum to 1 let the mean be standardised afterwards."""
        wide = self.wide(w, take)
        shift, inverse = wide.shift[:, None], wide.inverse[:, None]

        def times(t: int, alpha: Tensor) -> Tensor:
            mixed = (alpha.transpose(0, 1) @ self.x[:, t]).transpose(0, 1)
            mixed = torch.addcmul(shift, mixed, inverse)
            return wide.own(mixed if self.mask is None else mixed * self.mask)

        return times
