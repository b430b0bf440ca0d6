"""Recurrent layers in PyTorch's layout, from products that a bank can stack.

`torch.nn.GRU` and `torch.nn.LSTM` cannot be vectorised over folds. These have their names, shapes
and first values, so that a state dict loads. Letters in `architecture.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mer_search.models.head import Maps, dropped

Step = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Of gates from the input, gates from the state, state and cell: the next state and cell."""


def gru_step(given: Tensor, own: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Cho et al. 2014, as PyTorch has it; gates lie as reset, update, candidate. No cell."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = given.chunk(3, -1), own.chunk(3, -1)
    z = (z_x + z_h).sigmoid()
    new = (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
    return (1 - z) * new + z * h, c


def lstm_step(given: Tensor, own: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Hochreiter & Schmidhuber 1997 with a forget gate: input, forget, candidate, output."""
    i, f, g, o = (given + own).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


STEPS: dict[str, tuple[int, Step]] = {"gru": (3, gru_step), "lstm": (4, lstm_step)}
"""Kind -> gates, and one step."""


class Recurrent(nn.Module):
    """Stacked layers of one kind, "gru" or "lstm"."""

    def __init__(
        self, kind: str, inputs: int, size: int, *, layers: int = 1, bidirectional: bool = False
    ) -> None:
        super().__init__()
        self.size, self.layers = size, layers
        gates, self.step = STEPS[kind]
        self.ends = ("", "_reverse") if bidirectional else ("",)
        limit = 1 / math.sqrt(size)
        for layer in range(layers):
            width = size * len(self.ends) if layer else inputs
            for end in self.ends:
                shapes = {"weight_ih": (gates * size, width), "weight_hh": (gates * size, size),
                          "bias_ih": (gates * size,), "bias_hh": (gates * size,)}  # fmt: skip
                for name, shape in shapes.items():
                    value = nn.Parameter(torch.empty(shape).uniform_(-limit, limit))
                    self.register_parameter(f"{name}_l{layer}{end}", value)

    def forward(self, x: Tensor, masks: Maps | None = None) -> Tensor:
        """States [B,K,S] of x [B,K,P]; mask `layer1` lies on the inputs of the second layer."""
        for layer in range(self.layers):
            if layer:
                x = dropped(x, masks, f"layer{layer}")
            x = torch.cat([self._scan(x, f"l{layer}{end}", bool(end)) for end in self.ends], -1)
        return x

    def final(self, states: Tensor) -> Tensor:
        """[B,S]: where each direction ends, the last keyframe forward and the first backward."""
        return torch.cat([states[:, -1, : self.size], states[:, 0, self.size :]], -1)

    def _scan(self, x: Tensor, name: str, backward: bool) -> Tensor:
        """States [B,K,H] of one direction."""
        w_x, w_h, b_x, b_h = (
            getattr(self, f"{each}_{name}")
            for each in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        given = (x @ w_x.t() + b_x).unbind(1)
        # `len` would fix the number of clips of an exported graph.
        h = c = x.new_zeros(x.shape[0], self.size)
        states = []
        for gates in reversed(given) if backward else given:
            h, c = self.step(gates, h @ w_h.t() + b_h, h, c)
            states.append(h)
        return torch.stack(states[::-1] if backward else states, 1)
