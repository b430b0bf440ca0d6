"""The last block of a face network, which a trial may train together with its head.

BatchNorm stays as the network's training left it: behind convolutions it is folded into them, and
what is left of it is frozen. Not for training.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mer_search.config import BOUNDARIES, Backbone, Features
from mer_search.features import plan
from mer_search.features.backbones import loaded
from mer_search.features.cache import Cache
from mer_search.features.networks import cut, fold_norms, network

State = Mapping[str, NDArray[np.float32]]


def keep_blocks(settings: Iterable[Features], *, cache: Cache) -> None:
    """Puts the weights that blocks start from into the cache, where trials on any node find them.

    Raises:
        WeightsMissing: a network's weights are not on this machine.
    """
    for backbone in {each.backbone for each in settings if each.backbone.trainable != "none"}:
        key = plan.block_key(backbone, plan.identity(backbone))
        with cache.lock(key):
            if not cache.digest(key):
                cache.write(key, first_state(backbone))


def first_state(backbone: Backbone) -> State:
    """The weights of the block as they are before any training, by name."""
    net = loaded(backbone.name, str(backbone.layer), pretrained=backbone.weights == "pretrained")
    state = _ending(net, backbone).state_dict()
    return {name: value.float().numpy() for name, value in state.items()}


def build_block(backbone: Backbone, state: State | None = None) -> nn.Module:
    """The block [n, D0, h, w] -> [n, D, h', w'] or [n, D]; without a state, still to be loaded."""
    net = network(backbone.name).eval()
    fold_norms(net)
    block = _ending(net, backbone).to_empty(device="cpu")
    if state is not None:
        block.load_state_dict({n: torch.from_numpy(np.array(v)) for n, v in state.items()})
    block.requires_grad_(True)  # a bias that came of a folded BatchNorm would not learn
    for module in block.modules():
        if isinstance(module, _BatchNorm):
            module.requires_grad_(False)
    return block


def _ending(net: nn.Module, backbone: Backbone) -> nn.Sequential:
    """What follows the boundary, up to the layer."""
    layer = str(backbone.layer)
    before = len(cut(net, BOUNDARIES[backbone.name, layer]))
    parts = list(cut(net, layer).named_children())
    return nn.Sequential(OrderedDict(parts[before:]))
