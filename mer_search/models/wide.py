"""The product with a bank's largest matrices, [F,D,n], and their gradient in pieces.

At D=4096 these hold nearly all weights of a model. A bank's gradient of them does not fit any
cache, and making it anew each step costs more in page faults and traffic than in arithmetic. So
the gradient is made fold by fold, some channels at a time, and each piece is handed on while it
is still in the cache: to the optimiser in training, or into one tensor for autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Take = Callable[[int, slice, Tensor], None]
"""Receives fold, rows and gradient [rows,n] of a matrix; the tensor is reused afterwards."""

PIECE = 2**17
"""Numbers of a piece, per thread: 512 KB, so that weight, gradient and moments share an L2."""


class Wide:
    """One matrix w [F,D,n] in one minibatch; may be multiplied several times.

    Args:
        w: the matrix.
        mean, inverse: standardisation [F,D] of what `shared` is given; 1/std for the latter.
        mask: [M,D] that drops standardised channels, or None.
        take: receives the gradient; None leaves it to autograd.
    """

    def __init__(
        self, w: Tensor, mean: Tensor, inverse: Tensor, mask: Tensor | None, take: Take | None
    ) -> None:
        self.w, self.inverse, self.mask, self.take = w, inverse, mask, take
        self.shift = -mean * inverse
        self.pairs: list[tuple[Tensor | None, Tensor]] = []
        self.x: Tensor | None = None
        # A number whose gradient is complete only after that of every product.
        self.last: Tensor = _Gather.apply(w, self)

    def shared(self, x: Tensor) -> Tensor:
        """Raw rows x [M,D], standardised by each fold, times w: [F,M,n]."""
        self.x = x
        product: Tensor = _Shared.apply(self.last, self)
        return product

    def own(self, z: Tensor) -> Tensor:
        """Rows z [F,M,D], standardised already, times w: [F,M,n]."""
        product: Tensor = _Own.apply(z, self.last, self)
        return product

    def standardised(self, fold: int, out: Tensor) -> Tensor:
        assert self.x is not None
        torch.addcmul(self.shift[fold], self.x, self.inverse[fold], out=out)
        return out if self.mask is None else out.mul_(self.mask)

    def gradient(self) -> Tensor | None:
        """Sum over all products of rows' d, handed to `take` in pieces or returned."""
        folds, channels, size = self.w.shape
        whole = torch.empty_like(self.w) if self.take is None else None
        height = channels
        if self.w.device.type == "cpu":
            height = max(1, min(channels, PIECE * torch.get_num_threads() // size))
        piece = self.w.new_empty(height, size)
        room = torch.empty_like(self.x) if self.x is not None else None
        for fold in range(folds):
            if room is not None:
                rows, d = self.standardised(fold, room), self.pairs[0][1][fold]
            else:
                rows = torch.cat([z[fold] for z, _ in self.pairs if z is not None])
                d = torch.cat([d[fold] for _, d in self.pairs])
            for start in range(0, channels, height):
                part = slice(start, min(start + height, channels))
                out = piece[: part.stop - start] if whole is None else whole[fold, part]
                torch.mm(rows[:, part].t(), d, out=out)
                if self.take is not None:
                    self.take(fold, part, out)
        return whole

    def release(self) -> None:
        """Lets go of the graph, which holds this object: in a ring neither would ever be freed."""
        self.pairs.clear()
        self.last = self.last.detach()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, w: Tensor, wide: Wide) -> Tensor:
        ctx.wide = wide
        return w.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, None]:
        whole = ctx.wide.gradient()
        ctx.wide.release()
        return whole, None


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, last: Tensor, wide: Wide) -> Tensor:
        ctx.wide = wide
        assert wide.x is not None
        out = wide.w.new_empty(len(wide.w), len(wide.x), wide.w.shape[2])
        room = torch.empty_like(wide.x)
        for fold, w in enumerate(wide.w):
            torch.mm(wide.standardised(fold, room), w, out=out[fold])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ctx.wide.pairs.append((None, grads[0]))
        return grads[0].new_zeros(()), None


class _Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, last: Tensor, wide: Wide) -> Tensor:
        ctx.wide = wide
        ctx.save_for_backward(z)
        return z @ wide.w

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (z,) = ctx.saved_tensors
        ctx.wide.pairs.append((z, grads[0]))
        return grads[0] @ ctx.wide.w.transpose(1, 2), grads[0].new_zeros(()), None
