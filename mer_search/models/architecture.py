"""What an attention-LSTM is made of: its arguments, parameters, first weights and masks.

Both forms of the model, `AttentionLSTM` (one) and `FoldBank` (F at once), are built from this
page, so that they cannot differ in a name or a shape. No arithmetic of the model is here.

| letter | axis                 | letter | axis                                             |
|--------|----------------------|--------|--------------------------------------------------|
| B      | clips of a minibatch | A      | attention size                                   |
| F      | folds                | C      | classes                                          |
| K      | keyframes            | H      | LSTM size                                        |
| R      | regions              | S      | H, or 2H when bidirectional: size of the states  |
| D      | channels             | P      | projection, or D without one: size the LSTM sees |
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mer_search.errors import InputError, did_you_mean

ATTENTION = ("none", "spatial", "temporal", "spatial-temporal")
SCORES = ("additive", "dot", "scaled-dot", "location", "self-attention")
POOLING = ("last", "mean")
Dropout = dict[str, tuple[float, tuple[int, ...]]]
"""Name of a mask -> its rate and, for one clip, its shape."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The constructor arguments of both forms; JSON can hold all of them.

    Raises:
        InputError: for all arguments that make no model, in one message.
    """

    channels: int  # D
    classes: int  # C
    keyframes: int = 0  # K; only the temporal location score has to know it
    regions: int = 1  # R
    attention: str = "none"
    score: str = "additive"
    attention_size: int = 64  # A
    heads: int = 4  # of self-attention over time
    lstm_size: int = 128  # H
    layers: int = 1
    bidirectional: bool = False
    projection: int = 0  # learned size before the LSTM; 0: none
    pooling: str = "last"  # without temporal attention
    dropout: float = 0.0  # of the LSTM's outputs
    input_dropout: float = 0.0  # of the standardised channels

    def __post_init__(self) -> None:
        if faults := list(self._faults()):
            raise InputError("model", faults)

    def _faults(self) -> Iterator[str]:
        words = {"attention": ATTENTION, "score": SCORES, "pooling": POOLING}
        for field, known in words.items():
            if (word := getattr(self, field)) not in known:
                yield f"{field} {word!r} is not known; {did_you_mean(word, known)}"
        if self.regions > 1 and not self.spatial:
            yield (
                f"{self.regions} regions need spatial attention; without it average or flatten "
                "them before the model"
            )
        if self.spatial and self.regions == 1:
            yield f"attention {self.attention!r} needs several regions but the features have one"
        if self.score == "self-attention" and self.attention == "spatial":
            yield (
                "score 'self-attention' looks over time but attention is 'spatial'; choose "
                "temporal or spatial-temporal, or another score"
            )
        if self.over_time and self.score == "self-attention" and self.attention_size % self.heads:
            yield (
                f"attention_size {self.attention_size} cannot be shared by {self.heads} heads; "
                "choose a multiple"
            )
        if self.over_time and self.score == "location" and not self.keyframes:
            yield "score 'location' over time needs the number of keyframes; give keyframes"

    @property
    def spatial(self) -> bool:
        return "spatial" in self.attention

    @property
    def over_time(self) -> bool:
        return "temporal" in self.attention

    @property
    def spatial_score(self) -> str:
        """Self-attention has no form over regions here: scaled-dot stands in for it."""
        return "scaled-dot" if self.score == "self-attention" else self.score

    def scale(self, score: str) -> float:
        """Of a dot product of A numbers."""
        return 1 / math.sqrt(self.attention_size) if score == "scaled-dot" else 1.0

    @property
    def directions(self) -> tuple[str, ...]:
        return ("forward", "backward") if self.bidirectional else ("forward",)

    @property
    def states(self) -> int:
        """S."""
        return self.lstm_size * len(self.directions)

    @property
    def inputs(self) -> int:
        """P."""
        return self.projection or self.channels

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter of one model, in the order they are drawn.

        Matrices map rows: `y = x @ W`. LSTM gates lie side by side as input, forget, output,
        candidate, [4H].
        """
        found: dict[str, tuple[int, ...]] = {}
        if self.projection:
            found |= {"project_w": (self.channels, self.projection), "project_b": (self.inputs,)}
        for layer in range(self.layers):
            size = self.states if layer else self.inputs
            for direction in self.directions:
                name, gates = f"lstm{layer}_{direction}", 4 * self.lstm_size
                found |= {f"{name}_x": (size, gates), f"{name}_h": (self.lstm_size, gates)}
                found |= {f"{name}_b": (gates,)}
                if self.spatial and not layer:
                    found |= self._spatial_shapes(f"spatial_{direction}")
        if self.over_time:
            found |= self._temporal_shapes()
        return found | {"class_w": (self.states, self.classes), "class_b": (self.classes,)}

    def _spatial_shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        if self.score == "location":
            return {f"{name}_q": (self.lstm_size, self.regions)}
        a = self.attention_size
        both = {f"{name}_k": (self.inputs, a), f"{name}_q": (self.lstm_size, a)}
        return both | ({f"{name}_v": (a,)} if self.score == "additive" else {})

    def _temporal_shapes(self) -> dict[str, tuple[int, ...]]:
        s, a = self.states, self.attention_size
        if self.score == "additive":
            return {"temporal_k": (s, a), "temporal_b": (a,), "temporal_v": (a,)}
        if self.score == "location":
            return {"temporal_q": (s, self.keyframes)}
        dot: dict[str, tuple[int, ...]] = {"temporal_q": (s, a), "temporal_k": (s, a)}
        if self.score == "self-attention":
            dot |= {"temporal_u": (s, a), "temporal_o": (a, s)}
        return dot


def generator(*key: object) -> torch.Generator:
    """Random numbers that depend on `key` alone: not on device, grouping or history."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def first_weights(architecture: Architecture, seed: int) -> dict[str, Tensor]:
    """One set of first weights; every fold starts from it.

    Uniform with variance 1/rows, so that standardised channels give gates of variance 1 for
    any D (PyTorch's own 1/H would saturate them at D=4096). Biases 0, the forget gate's 1
    (Jozefowicz et al. 2015).
    """
    source, found = generator(seed, "weights"), {}
    for name, shape in architecture.shapes().items():
        if name.endswith("_b"):
            found[name] = torch.zeros(shape)
            if name.startswith("lstm"):
                found[name][architecture.lstm_size : 2 * architecture.lstm_size] = 1.0
        else:
            limit = math.sqrt(3.0 / shape[0])
            found[name] = torch.empty(shape).uniform_(-limit, limit, generator=source)
    return found


def dropout_masks(architecture: Architecture, batch: int, *key: object) -> dict[str, Tensor]:
    """The masks of one step, shared by all folds; empty where nothing is dropped.

    One mask per clip for all keyframes and regions (Gal & Ghahramani 2016, arXiv 1512.05287),
    scaled to keep the mean: `input` [B,D], `layer1`... and `output` [B,S].
    """
    a = architecture
    wanted: Dropout = {
        "input": (a.input_dropout, (a.channels,)),
        "output": (a.dropout, (a.states,)),
    }
    wanted |= {f"layer{layer}": (a.dropout, (a.states,)) for layer in range(1, a.layers)}
    return drawn(wanted, batch, *key)


def drawn(wanted: Dropout, batch: int, *key: object) -> dict[str, Tensor]:
    """Masks [B, ...] of the given rates and shapes; each depends on `key` and its name alone."""
    found = {}
    for name, (rate, shape) in wanted.items():
        if rate:
            source = generator(*key, name)
            kept = torch.rand(batch, *shape, generator=source) >= rate
            found[name] = kept.float() / (1.0 - rate)
    return found
