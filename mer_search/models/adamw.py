"""AdamW over a bank, in as few passes over memory as it can be done.

Pieces of the largest matrices are updated as soon as their gradient exists (`wide.py`), everything
else at the end of the backward pass. With gradient clipping a fold's norm has to be known first:
then the gradient is kept, which costs one more array and two more passes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mer_search.models.fold_bank import FoldBank
from mer_search.models.stacked import StackedBank

BETAS, EPS = (0.9, 0.999), 1e-8


class BankAdamW:
    """Loshchilov & Hutter 2019, algorithm 2, elementwise: folds stay apart. Vectors do not decay.

    Args:
        bank: whose parameters it updates; from now on `bank` hands its gradients over.
        weight_decay: multiplied by the learning rate, as in PyTorch.
        clip_norm: largest norm of a fold's gradient over all its parameters; 0: any.
    """

    def __init__(
        self, bank: FoldBank | StackedBank, *, weight_decay: float, clip_norm: float = 0.0
    ) -> None:
        self.weight_decay, self.clip_norm = weight_decay, clip_norm
        self.done, self.rate = 0, 0.0
        self.weights = {name: p.detach() for name, p in bank.named_parameters()}
        self.parameters = dict(bank.named_parameters())
        self.first = {name: torch.zeros_like(p) for name, p in self.weights.items()}
        self.second = {name: torch.zeros_like(p) for name, p in self.weights.items()}
        self.kept: dict[str, Tensor] = {}
        self.count = torch.zeros((), device=bank.mean.device)
        bank.take = self.taker

    def taker(self, name: str) -> Callable[[int, slice, Tensor], None]:
        """What receives the pieces of one matrix's gradient."""
        if not self.clip_norm:
            return partial(self._update_piece, name)
        if name not in self.kept:
            self.kept[name] = torch.empty_like(self.weights[name])
        return partial(self._keep, name)

    def step(self, loss: Tensor, rate: float) -> None:
        """Backward pass of `loss` and one update with learning rate `rate`."""
        self.done += 1
        self.rate = rate
        self.count.fill_(self.done)
        for parameter in self.parameters.values():
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        grads = {n: p.grad for n, p in self.parameters.items() if p.grad is not None} | self.kept
        if self.clip_norm:
            clip_folds(list(grads.values()), self.clip_norm)
        for name, grad in grads.items():
            self._update(name, ..., grad)

    def _keep(self, name: str, fold: int, rows: slice, grad: Tensor) -> None:
        self.kept[name][fold, rows] = grad

    def _update_piece(self, name: str, fold: int, rows: slice, grad: Tensor) -> None:
        self._update(name, (fold, rows), grad)

    def _update(self, name: str, where: Any, grad: Tensor) -> None:
        weight = self.weights[name]
        torch._fused_adamw_(
            [weight[where]],
            [grad],
            [self.first[name][where]],
            [self.second[name][where]],
            [],
            [self.count],
            lr=self.rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self.weight_decay if weight.dim() > 2 else 0.0,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )


def clip_folds(grads: list[Tensor], largest: float) -> None:
    """Scale, in place, each fold's gradients [F, ...] to a joint norm of at most `largest`."""
    norm = torch.stack([grad.flatten(1).norm(dim=1) for grad in grads]).norm(dim=0)
    scale = (largest / (norm + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad *= scale.view(-1, *[1] * (grad.dim() - 1))
