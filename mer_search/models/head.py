"""What every rival model is: a plain module over features [B,K,R,D] that a bank can stack.

Not for the attention-LSTM, whose bank is made by hand (`fold_bank.py`). Letters in
`architecture.py`; H, W: height and width of a map.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_search.errors import InputError
from mer_search.models.architecture import Dropout

Maps = dict[str, Tensor]
State = dict[str, Tensor]


class Head(nn.Module):
    """One model of one fold. It carries the standardisation of its fold, so raw features go in.

    A subclass gives `forward(x, masks=None, own=None)`: logits [B,C] and attention maps of x
    [B,K,R,D]. `masks` are drawn after `dropout` and shared by all folds; `own` [B] says which
    clips the fold learns from, and is there in training alone: a layer that mixes clips uses no
    others. Every operation must be one that `torch.vmap` knows (so no `nn.LSTM`), and no random
    number may be drawn.

    Args:
        arguments: all that builds the module again, `channels`, `classes`, `keyframes` and
            `regions` among them; JSON can hold it.
    """

    mean: Tensor
    std: Tensor
    maps: tuple[str, ...] = ()  # names of the attention maps, sorted
    fitted = False  # whether `fit` takes the place of training by gradients

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments
        self.classes: int = arguments["classes"]
        self.register_buffer("mean", torch.zeros(arguments["channels"]))
        self.register_buffer("std", torch.ones(arguments["channels"]))

    def dropout(self) -> Dropout:
        """The masks that one step of training needs; a rate of 0 draws none."""
        return {}

    def standardised(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def first(self, conv: nn.Conv2d, maps: Tensor, channel: int | None = None) -> Tensor:
        """A convolution [B,Q,H,W] of raw maps [B,K*D,H,W] as of standardised ones, padded by 0.

        The filters absorb the standardisation, so that one convolution of the shared maps serves
        every fold of a bank; what the means add is the same for all clips.

        Args:
            channel: looks at one of the D channels of every map; None: at all.
        """
        depth = len(self.mean)
        own = slice(None) if channel is None else slice(channel, None, depth)
        times, maps = maps.shape[1] // depth, maps[:, own]
        mean, std = (each.repeat(times)[own, None, None] for each in (self.mean, self.std))
        w = conv.weight / std
        shift = functional.conv2d(torch.ones_like(maps[:1]), w * mean, padding=conv.padding)
        return functional.conv2d(maps, w, conv.bias, padding=conv.padding) - shift

    def fit(self, x: Tensor, label: Tensor) -> State:
        """Of a `fitted` model: values of its state from training clips x [n,K,R,D], label [n]."""
        raise NotImplementedError

    def renamed(self, state: State) -> State:
        """Others' weights under this module's names; KeyError for what they lack."""
        return state


def dropped(y: Tensor, masks: Maps | None, name: str) -> Tensor:
    """y [B, ...] under the mask of that name, which holds for every axis that it lacks."""
    if not masks or name not in masks:
        return y
    mask = masks[name]
    return y * mask.view(len(mask), *[1] * (y.dim() - mask.dim()), *mask.shape[1:])


def square(name: str, regions: int) -> int:
    """Height and width of the maps whose pixels are a model's regions.

    Raises:
        InputError: regions that are no square of pixels.
    """
    side = math.isqrt(regions)
    if side < 2 or side * side != regions:
        raise InputError(
            "model.name",
            f"{name} takes maps pixel by pixel but the features have {regions} regions; set "
            "features.backbone to {name: patches, grid: S} for maps of S by S pixels",
        )
    return side


def as_maps(x: Tensor) -> Tensor:
    """[B,K,H*W,D] -> [B,K*D,H,W]: the maps of a clip lie behind one another."""
    side = math.isqrt(x.shape[2])
    return torch.unflatten(x.transpose(2, 3).flatten(1, 2), 2, (side, side))


def load_published(head: Head, state: State) -> None:
    """Weights of others' training, in the layout of the published code.

    The standardisation stays (0 and 1 in a fresh module), so the input is that of their training.

    Raises:
        InputError: names or shapes that are not those of this model, all of them.
    """
    own = head.state_dict()
    try:
        given = head.renamed({n: v for n, v in state.items() if not n.endswith("_tracked")})
    except KeyError as lacking:
        raise InputError("state dict", f"lacks {lacking.args[0]}; give this model's") from lacking
    wanted = own.keys() - {"mean", "std"}
    faults = [f"lacks {name}" for name in sorted(wanted - given.keys())]
    faults += [f"holds {name}, which the model has not" for name in sorted(given.keys() - wanted)]
    faults += [
        f"{name} is {tuple(given[name].shape)}, the model's is {tuple(own[name].shape)}"
        for name in sorted(wanted & given.keys())
        if given[name].shape != own[name].shape
    ]
    if faults:
        raise InputError("state dict", faults)
    head.load_state_dict({**own, **given})
