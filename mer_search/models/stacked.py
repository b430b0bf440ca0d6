"""F copies of any plain module trained together: each parameter with a leading fold axis.

One minibatch serves all folds; `torch.vmap` turns every operation of the module into one over
the folds. Slower than the hand-made `fold_bank.py`, and for any module. Letters in
`architecture.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mer_search.models.architecture import drawn
from mer_search.models.head import Head, Maps
from mer_search.models.wide import Take


class StackedBank(nn.Module):
    """F models that start from the weights and statistics of one plain module.

    Args:
        plain: a `Head`; the bank keeps it as the pattern of its members.
        folds: F.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, plain: Head, folds: int) -> None:
        super().__init__()
        self.take: Callable[[str], Take] | None = None  # no gradient here is worth pieces
        self.folds, self.classes = folds, plain.classes
        self.pattern = (plain,)  # not a part of this module, whose parameters are the copies
        for name, value in plain.named_parameters():
            self.register_parameter(_flat(name), nn.Parameter(_copies(value, folds)))
        for name, buffer in plain.named_buffers():
            self.register_buffer(_flat(name), _copies(buffer, folds))

    def masks(self, batch: int, *key: object) -> Maps:
        """What one step drops, the same for every fold; depends on `key` alone."""
        return drawn(self.pattern[0].dropout(), batch, *key)

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Logits [F,B,C] and attention maps [F,B, ...] of x [B,K,R,D].

        Args:
            own: [F,B] in training: the clips that each fold learns from.
        """
        plain = self.pattern[0]

        def one(state: Maps, own: Tensor | None) -> tuple[Tensor, Maps]:
            answer: tuple[Tensor, Maps] = functional_call(plain, state, (x, masks, own))
            return answer

        state = {_dotted(n): v for n, v in (*self.named_parameters(), *self.named_buffers())}
        answer: tuple[Tensor, Maps] = torch.vmap(one, in_dims=(0, None if own is None else 0))(
            state, own
        )
        return answer

    @torch.no_grad()
    def fit(self, x: Tensor, label: Tensor, training: Tensor) -> None:
        """Fits each fold to its own training clips, of x [N,K,R,D] and training [F,N]."""
        for fold, own in enumerate(training):
            for name, value in self.member(fold).fit(x[own], label[own]).items():
                getattr(self, _flat(name))[fold] = value

    def member(self, fold: int) -> Head:
        """The plain module of one fold, with its own copy of weights and statistics."""
        module = copy.deepcopy(self.pattern[0]).to(self.mean.device)
        state = {_dotted(name): value[fold] for name, value in self.state_dict().items()}
        module.load_state_dict(state)
        return module.eval()


def _copies(value: Tensor, folds: int) -> Tensor:
    return value.detach().expand(folds, *value.shape).clone()


def _flat(name: str) -> str:
    """PyTorch allows no dot in the name of a parameter."""
    return name.replace(".", "/")


def _dotted(name: str) -> str:
    return name.replace("/", ".")
