"""The attention-LSTM of one fold, written for reading: export form and oracle of the bank.

Raw features go in: the module carries the standardisation of its fold. It is never trained
here (`fold_bank.py` trains F of them at once and hands them out); letters in `architecture.py`.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from mer_search.models.architecture import Architecture, first_weights

Maps = dict[str, Tensor]


class AttentionLSTM(nn.Module):
    """One model: regions -> spatial attention -> LSTM -> temporal attention -> classes.

    Args:
        seed: of the first weights.
        arguments: the fields of `Architecture`. `AttentionLSTM(**module.arguments)` and
            `load_state_dict` rebuild a module.
    """

    mean: Tensor
    std: Tensor
    project_w: Tensor
    project_b: Tensor
    temporal_k: Tensor
    temporal_b: Tensor
    temporal_v: Tensor
    temporal_q: Tensor
    temporal_u: Tensor
    temporal_o: Tensor
    class_w: Tensor
    class_b: Tensor

    def __init__(self, *, seed: int = 0, **arguments: Any) -> None:
        super().__init__()
        self.architecture = Architecture(**arguments)
        self.register_buffer("mean", torch.zeros(self.architecture.channels))
        self.register_buffer("std", torch.ones(self.architecture.channels))
        for name, value in first_weights(self.architecture, seed).items():
            self.register_parameter(name, nn.Parameter(value))

    @property
    def arguments(self) -> dict[str, Any]:
        """All that is needed to build this module again, as JSON can hold it."""
        return asdict(self.architecture)

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the attention maps, sorted."""
        a = self.architecture
        return ("spatial",) * a.spatial + ("temporal",) * a.over_time

    def forward(self, x: Tensor, masks: Maps | None = None) -> tuple[Tensor, Maps]:
        """Logits [B,C] and attention maps of raw features x [B,K,R,D].

        The maps are `spatial` [B,K,R] and `temporal` [B,K], each where the model has it; their
        last axis sums to 1. `masks` are those of `dropout_masks`; without them nothing is dropped.
        """
        masks, maps = masks or {}, {}
        states = (x - self.mean) / self.std
        if "input" in masks:
            states = states * masks["input"][:, None, None]
        if self.architecture.projection:
            states = states @ self.project_w + self.project_b
        for layer in range(self.architecture.layers):
            if layer and f"layer{layer}" in masks:
                states = states * masks[f"layer{layer}"][:, None, None]
            states, seen = self._layer(layer, states)
            if seen is not None:
                maps["spatial"] = seen
        pooled, weights = self._pool(states[:, :, 0])
        if weights is not None:
            maps["temporal"] = weights
        if "output" in masks:
            pooled = pooled * masks["output"]
        return pooled @ self.class_w + self.class_b, maps

    def _layer(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """States [B,K,1,S] of one layer over x [B,K,R,P], and the map of its directions' mean."""
        states, seen = [], []
        for direction in self.architecture.directions:
            order = list(range(x.shape[1]))
            if direction == "backward":
                order.reverse()
            state, alpha = self._scan(layer, direction, [x[:, t] for t in order])
            states.append(torch.stack([state[order.index(t)] for t in range(len(order))], 1))
            if alpha:
                seen.append(torch.stack([alpha[order.index(t)] for t in range(len(order))], 1))
        mean = torch.stack(seen).mean(0) if seen else None
        return torch.cat(states, -1).unsqueeze(2), mean

    def _scan(
        self, layer: int, direction: str, frames: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """h [B,H] and alpha [B,R] after each of the frames [B,R,P], in the order they come."""
        name = f"lstm{layer}_{direction}"
        h = c = frames[0].new_zeros(frames[0].shape[0], self.architecture.lstm_size)
        states, seen = [], []
        for frame in frames:
            z = frame[:, 0]
            if self.architecture.spatial and not layer:
                alpha = self._spatial(f"spatial_{direction}", frame, h).softmax(-1)
                seen.append(alpha)
                z = (alpha[:, :, None] * frame).sum(1)
            w_x, w_h, b = (getattr(self, f"{name}_{end}") for end in "xhb")
            i, f, o, g = (z @ w_x + h @ w_h + b).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(h)
        return states, seen

    def _spatial(self, name: str, frame: Tensor, h: Tensor) -> Tensor:
        """Scores e [B,R] of a frame's regions [B,R,P] given the state h [B,H] before it.

        additive: v' tanh(Wk x[r] + Wq h), Xu et al. 2015 (arXiv 1502.03044) after Bahdanau;
        dot: (Wk x[r])' (Wq h), Luong et al. 2015 (arXiv 1508.04025), "general" of rank A, and
        scaled by 1/sqrt(A), Vaswani et al. 2017; location: (Wq h)[r], the state alone, Sharma
        et al. 2015 (arXiv 1511.04119).
        """
        score = self.architecture.spatial_score
        query = h @ self.get_parameter(f"{name}_q")
        if score == "location":
            return query
        keys = frame @ self.get_parameter(f"{name}_k")
        if score == "additive":
            return torch.tanh(keys + query[:, None]) @ self.get_parameter(f"{name}_v")
        return (keys * query[:, None]).sum(-1) * self.architecture.scale(score)

    def _pool(self, states: Tensor) -> tuple[Tensor, Tensor | None]:
        """The clip's vector [B,S] from states [B,K,S], and the weights [B,K] of the keyframes.

        additive: u' tanh(W h[t] + b), Yang et al. 2016; dot and scaled-dot with the final state
        as query, and location (Wq h)[t], Luong et al. 2015.
        """
        a = self.architecture
        if not a.over_time:
            return (self._final(states) if a.pooling == "last" else states.mean(1)), None
        if a.score == "self-attention":
            return self._self_attention(states)
        if a.score == "additive":
            scores = torch.tanh(states @ self.temporal_k + self.temporal_b) @ self.temporal_v
        else:
            scores = self._final(states) @ self.temporal_q
            if a.score != "location":
                keys = states @ self.temporal_k
                scores = (keys * scores[:, None]).sum(-1) * a.scale(a.score)
        weights = scores.softmax(-1)
        return (weights[:, :, None] * states).sum(1), weights

    def _final(self, states: Tensor) -> Tensor:
        """[B,S]: where each direction ends, the last keyframe forward and the first backward."""
        size = self.architecture.lstm_size
        return torch.cat([states[:, -1, :size], states[:, 0, size:]], -1)

    def _self_attention(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Mean over t of h + MultiHead(h, h, h) (Vaswani et al. 2017, equation 1, section 3.2.2).

        The weight of a keyframe is the attention it receives, mean over heads and queries.
        """
        heads = self.architecture.heads

        def split(matrix: Tensor) -> Tensor:
            return torch.unflatten(states @ matrix, -1, (heads, -1)).transpose(1, 2)

        query, key, value = map(split, (self.temporal_q, self.temporal_k, self.temporal_u))
        alpha = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)
        mixed = (alpha @ value).transpose(1, 2).flatten(-2)
        return (states + mixed @ self.temporal_o).mean(1), alpha.mean((1, 2))
