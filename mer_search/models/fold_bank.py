"""F attention-LSTMs trained together: the plain module with a leading fold axis.

All folds see one minibatch x [B,K,R,D]; parameters are [F, ...] and every product is one batched
matrix product. Standardisation differs by fold and is therefore folded into the first matrices:
`(x - mean) / std @ W = x @ (W / std) - mean @ (W / std)`. Letters in `architecture.py`; the
formulas of the scores stand in `attention_lstm.py`, which this must equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from mer_search.models.architecture import Architecture, dropout_masks, first_weights
from mer_search.models.attention_lstm import AttentionLSTM, Maps
from mer_search.models.inputs import PerFold, Shared
from mer_search.models.recurrence import Recurrence
from mer_search.models.wide import Take


class FoldBank(nn.Module):
    """F models of one architecture that start from the same weights.

    Args:
        folds: F.
        seed: of the first weights.
        arguments: the fields of `Architecture`.
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

    def __init__(self, folds: int, *, seed: int = 0, **arguments: Any) -> None:
        super().__init__()
        self.take: Callable[[str], Take] | None = None
        self.architecture = Architecture(**arguments)
        self.folds = folds
        self.register_buffer("mean", torch.zeros(folds, self.architecture.channels))
        self.register_buffer("std", torch.ones(folds, self.architecture.channels))
        for name, value in first_weights(self.architecture, seed).items():
            copies = value.expand(folds, *value.shape).clone()
            self.register_parameter(name, nn.Parameter(copies))

    def member(self, fold: int) -> AttentionLSTM:
        """The plain module of one fold, with its own copy of weights and standardisation."""
        module = AttentionLSTM(**asdict(self.architecture)).to(self.mean.device)
        module.load_state_dict({name: value[fold] for name, value in self.state_dict().items()})
        return module.eval()

    @property
    def classes(self) -> int:
        """C."""
        return self.architecture.classes

    def masks(self, batch: int, *key: object) -> Maps:
        """What one step drops, the same for every fold; depends on `key` alone."""
        return dropout_masks(self.architecture, batch, *key)

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Logits [F,B,C] and maps (`spatial` [F,B,K,R], `temporal` [F,B,K]) of x [B,K,R,D].

        `own`, the clips of each fold, is for models that mix clips; nothing here does.
        """
        a, masks, maps = self.architecture, masks or {}, {}
        view: Shared | PerFold = Shared(x, self.mean, self.std, masks.get("input"))
        if a.projection:
            view = PerFold(view.times(self.project_w, self.project_b))
        if a.spatial:
            states, maps["spatial"] = self._attend(view)
        else:
            states = self._layer(0, view)
        for layer in range(1, a.layers):
            if f"layer{layer}" in masks:
                states = states * masks[f"layer{layer}"][:, None]
            states = self._layer(layer, PerFold(states.unsqueeze(3)))
        pooled, weights = self._pool(states)
        if weights is not None:
            maps["temporal"] = weights
        if "output" in masks:
            pooled = pooled * masks["output"]
        return torch.baddbmm(self.class_b[:, None], pooled, self.class_w), maps

    def _take(self, name: str) -> Take | None:
        return self.take(name) if self.take and torch.is_grad_enabled() else None

    def _named(self, name: str, ends: str) -> list[Tensor]:
        return [getattr(self, f"{name}_{end}") for end in ends]

    def _layer(self, layer: int, view: Shared | PerFold) -> Tensor:
        """States [F,B,K,S] of an LSTM layer over inputs of one region."""
        states = []
        for direction in self.architecture.directions:
            w_x, w_h, b = self._named(f"lstm{layer}_{direction}", "xhb")
            if isinstance(view, Shared):
                rows = view.x[:, :, 0].transpose(0, 1)
                wide = view.wide(w_x, self._take(f"lstm{layer}_{direction}_x"))
                # Added before any view is taken: in place on a view, autograd copies it all.
                pre = wide.shared(rows.flatten(0, 1)).add_(b[:, None])
                pre = torch.unflatten(pre, 1, rows.shape[:2])
            else:
                pre = view.times(w_x, b).squeeze(3).transpose(1, 2)
            states.append(Recurrence.apply(pre, w_h, direction == "backward").transpose(1, 2))
        return torch.cat(states, -1)

    def _attend(self, view: Shared | PerFold) -> tuple[Tensor, Tensor]:
        """States [F,B,K,S] of the first layer under spatial attention, and the map [F,B,K,R]."""
        states, seen = [], []
        for direction in self.architecture.directions:
            h, alpha = self._scan(direction, view)
            states.append(h)
            seen.append(alpha)
        return torch.cat(states, -1), torch.stack(seen).mean(0)

    def _scan(self, direction: str, view: Shared | PerFold) -> tuple[Tensor, Tensor]:
        w_x, w_h, b = self._named(f"lstm0_{direction}", "xhb")
        times = view.mixer(w_x, self._take(f"lstm0_{direction}_x"))
        score = self._spatial(f"spatial_{direction}", view)
        order = list(range(view.x.shape[-3]))
        if direction == "backward":
            order.reverse()
        batch = view.x.shape[-4]
        h = c = w_h.new_zeros(self.folds, batch, self.architecture.lstm_size)
        states, seen = [h] * len(order), [h] * len(order)
        for t in order:
            alpha = score(t, h).softmax(-1)
            gates = torch.baddbmm(times(t, alpha) + b[:, None], h, w_h)
            i, f, o, g = gates.chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states[t], seen[t] = h, alpha
        return torch.stack(states, 2), torch.stack(seen, 2)

    def _spatial(self, name: str, view: Shared | PerFold) -> Callable[[int, Tensor], Tensor]:
        """The scores [F,B,R] of keyframe t's regions given h [F,B,H]; directions share none."""
        a = self.architecture
        (w_q,) = self._named(name, "q")
        if a.spatial_score == "location":
            return lambda t, h: h @ w_q
        (w_k,) = self._named(name, "k")
        keys = view.keyer(w_k)
        if a.spatial_score == "additive":
            (v,) = self._named(name, "v")
            return lambda t, h: _dot(torch.tanh(keys(t) + (h @ w_q)[:, :, None]), v)
        scale = a.scale(a.spatial_score)
        return lambda t, h: (keys(t) @ (h @ w_q).unsqueeze(-1)).squeeze(-1) * scale

    def _pool(self, states: Tensor) -> tuple[Tensor, Tensor | None]:
        """The clips' vectors [F,B,S] from states [F,B,K,S], and the keyframes' weights [F,B,K]."""
        a = self.architecture
        if not a.over_time:
            return (self._final(states) if a.pooling == "last" else states.mean(2)), None
        if a.score == "self-attention":
            return self._self_attention(states)
        if a.score == "additive":
            w_k, b, v = self._named("temporal", "kbv")
            scores = _dot(torch.tanh(_times(states, w_k) + b[:, None, None]), v)
        else:
            scores = self._final(states) @ self.temporal_q
            if a.score != "location":
                keys = _times(states, self.temporal_k)
                scores = (keys @ scores.unsqueeze(-1)).squeeze(-1) * a.scale(a.score)
        weights = scores.softmax(-1)
        return (weights.unsqueeze(2) @ states).squeeze(2), weights

    def _final(self, states: Tensor) -> Tensor:
        size = self.architecture.lstm_size
        return torch.cat([states[:, :, -1, :size], states[:, :, 0, size:]], -1)

    def _self_attention(self, states: Tensor) -> tuple[Tensor, Tensor]:
        heads = self.architecture.heads
        query, key, value = (
            torch.unflatten(_times(states, w), -1, (heads, -1)).transpose(2, 3)
            for w in self._named("temporal", "qku")
        )
        alpha = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)
        mixed = (alpha @ value).transpose(2, 3).flatten(-2).mean(2)
        return states.mean(2) + mixed @ self.temporal_o, alpha.mean((2, 3))


def _times(states: Tensor, w: Tensor) -> Tensor:
    """[F,B,K,S] by [F,S,n]: one batched product."""
    return torch.unflatten(states.flatten(1, 2) @ w, 1, states.shape[1:3])


def _dot(rows: Tensor, v: Tensor) -> Tensor:
    """[F,B,J,A] by [F,A]: the inner product of every row with its fold's vector, [F,B,J]."""
    return (rows.flatten(1, 2) @ v.unsqueeze(-1)).view(rows.shape[:-1])
