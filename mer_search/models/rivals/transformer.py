"""A transformer encoder over the keyframes, Vaswani et al. 2017. Letters in `architecture.py`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_search.errors import InputError
from mer_search.models.architecture import Dropout
from mer_search.models.head import Head, Maps, dropped


class Attention(nn.Module):
    """`torch.nn.MultiheadAttention` over K, from products that a bank can stack."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * size, size))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * size))
        self.out_proj = nn.Linear(size, size)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        mixed = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = (
            torch.unflatten(each, -1, (self.heads, -1)).transpose(1, 2)
            for each in mixed.chunk(3, -1)
        )
        weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)
        found: Tensor = self.out_proj((weights @ value).transpose(1, 2).flatten(2))
        return found


class Layer(nn.Module):
    """`torch.nn.TransformerEncoderLayer` with `norm_first`, by its names."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(size, heads)
        self.linear1, self.linear2 = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)

    def forward(self, x: Tensor, masks: Maps | None, name: str) -> Tensor:
        x = x + dropped(self.self_attn(self.norm1(x)), masks, f"{name}a")
        inner = self.linear2(self.linear1(self.norm2(x)).relu())
        return x + dropped(inner, masks, f"{name}b")


class Transformer(Head):
    """Projection to A -> learned positions -> pre-norm encoder layers -> mean -> classes."""

    def __init__(
        self, *, channels: int, classes: int, keyframes: int, regions: int = 1,
        attention_size: int = 64, heads: int = 4, layers: int = 1, dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(
            channels=channels, classes=classes, keyframes=keyframes, regions=regions,
            attention_size=attention_size, heads=heads, layers=layers, dropout=dropout,
            input_dropout=input_dropout,
        )  # fmt: skip
        if attention_size % heads:
            raise InputError(
                "model",
                f"attention_size {attention_size} cannot be shared by {heads} heads; choose a "
                "multiple",
            )
        self.project = nn.Linear(channels, attention_size)
        self.place = nn.Parameter(0.02 * torch.randn(keyframes, attention_size))
        self.layers = nn.ModuleList(Layer(attention_size, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(attention_size)
        self.fc = nn.Linear(attention_size, classes)

    def dropout(self) -> Dropout:
        a = self.arguments
        size = (a["attention_size"],)
        inner = [f"layer{n}{part}" for n in range(a["layers"]) for part in "ab"]
        found: Dropout = dict.fromkeys((*inner, "output"), (a["dropout"], size))
        return found | {"input": (a["input_dropout"], (a["channels"],))}

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Logits [B,C] of x [B,K,1,D]."""
        y = self.project(dropped(self.standardised(x[:, :, 0]), masks, "input")) + self.place
        for n, layer in enumerate(self.layers):
            y = layer(y, masks, f"layer{n}")
        logits: Tensor = self.fc(dropped(self.norm(y).mean(1), masks, "output"))
        return logits, {}
