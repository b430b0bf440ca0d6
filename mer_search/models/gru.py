"""A gated recurrent network without attention, and its layer in PyTorch's layout.

Letters in `architecture.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mer_search.models.architecture import Dropout
from mer_search.models.head import Head, Maps, dropped


class GRULayers(nn.Module):
    """`torch.nn.GRU` (Cho et al. 2014) from products that a bank can stack.

    Parameters have its names, shapes and first values, so its state dict loads.
    """

    def __init__(self, inputs: int, size: int, *, layers: int, bidirectional: bool) -> None:
        super().__init__()
        self.size, self.layers = size, layers
        self.ends = ("", "_reverse") if bidirectional else ("",)
        limit = 1 / math.sqrt(size)
        for layer in range(layers):
            width = size * len(self.ends) if layer else inputs
            for end in self.ends:
                shapes = {"weight_ih": (3 * size, width), "weight_hh": (3 * size, size),
                          "bias_ih": (3 * size,), "bias_hh": (3 * size,)}  # fmt: skip
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

    def _scan(self, x: Tensor, name: str, backward: bool) -> Tensor:
        """States [B,K,H]; gates lie as reset, update, candidate."""
        w_x, w_h, b_x, b_h = (
            getattr(self, f"{each}_{name}")
            for each in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        given = (x @ w_x.t() + b_x).unbind(1)
        h = x.new_zeros(x.shape[0], self.size)  # `len` would fix the clips of an export
        states = []
        for pre in reversed(given) if backward else given:
            r_x, z_x, n_x = pre.chunk(3, -1)
            r_h, z_h, n_h = (h @ w_h.t() + b_h).chunk(3, -1)
            z = (z_x + z_h).sigmoid()
            new = (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
            h = (1 - z) * new + z * h
            states.append(h)
        return torch.stack(states[::-1] if backward else states, 1)


class GRU(Head):
    """(projection ->) GRU -> the last state, or the mean of all -> classes."""

    def __init__(
        self, *, channels: int, classes: int, keyframes: int = 0, regions: int = 1,
        lstm_size: int = 128, layers: int = 1, bidirectional: bool = False, projection: int = 0,
        pooling: str = "last", dropout: float = 0.0, input_dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(
            channels=channels, classes=classes, keyframes=keyframes, regions=regions,
            lstm_size=lstm_size, layers=layers, bidirectional=bidirectional,
            projection=projection, pooling=pooling, dropout=dropout, input_dropout=input_dropout,
        )  # fmt: skip
        self.project = nn.Linear(channels, projection) if projection else None
        self.gru = GRULayers(
            projection or channels, lstm_size, layers=layers, bidirectional=bidirectional
        )
        self.fc = nn.Linear(lstm_size * (1 + bidirectional), classes)

    def dropout(self) -> Dropout:
        a, states = self.arguments, (self.fc.in_features,)
        names = ["output", *(f"layer{layer}" for layer in range(1, a["layers"]))]
        found: Dropout = dict.fromkeys(names, (a["dropout"], states))
        return found | {"input": (a["input_dropout"], (a["channels"],))}

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Logits [B,C] of x [B,K,1,D]."""
        frames = dropped(self.standardised(x[:, :, 0]), masks, "input")
        if self.project is not None:
            frames = self.project(frames)
        states = self.gru(frames, masks)
        if self.arguments["pooling"] == "mean":
            pooled = states.mean(1)
        else:
            size = self.gru.size
            pooled = torch.cat([states[:, -1, :size], states[:, 0, size:]], -1)
        logits: Tensor = self.fc(dropped(pooled, masks, "output"))
        return logits, {}
