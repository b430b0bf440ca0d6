"""The face networks as plain modules, cut at a layer. Not for weights or pixels.

| network | layer | map at its input size | R x D |
|---|---|---|---|
| FaceNet, 160 | repeat_1, repeat_2, block8 | 17x17, 8x8, 3x3 | 289x256, 64x896, 9x1792 |
| | embedding | unit length | 1x512 |
| VGG-Face (VGG-16), 224 | conv5_3, pool5 | 14x14, 7x7 | 196x512, 49x512 |
| | fc6, fc7 | | 1x4096 |

VGG-Face's layers are read after their ReLU. VGGFace2's networks stand in `resnets`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mer_search.config import LAYERS
from mer_search.errors import InputError, did_you_mean

FACENET_ORDER = (
    *("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "conv2d_4b"),
    *("repeat_1", "mixed_6a", "repeat_2", "mixed_7a", "repeat_3", "block8"),
)
CONV_NORM = (("conv", "bn"), ("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))
"""Names of a convolution and the BatchNorm behind it, in FaceNet's blocks and in ResNets."""
VGG_STAGES = ((1, 2, 3, 64), (2, 2, 64, 128), (3, 3, 128, 256), (4, 3, 256, 512), (5, 3, 512, 512))
"""Number, convolutions, channels in, channels out."""
VGG_FULL = 4096
"""Channels of fc6 and fc7."""


class UnitLength(nn.Module):
    """Each row divided by its Euclidean length."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x, p=2, dim=1)


def network(name: str) -> nn.Module:
    """The whole network, its tensors still without values: load a state, or `randomise`.

    Drawing first weights for 145 million parameters, only to overwrite them, would take seconds and
    move the caller's random generator.
    """
    with torch.device("meta"):
        if name == "vgg-face":
            return nn.Sequential(OrderedDict(_vgg_layers()))
        if name in ("facenet-casia", "facenet-vggface2"):
            from facenet_pytorch import InceptionResnetV1  # brings torchvision, which takes seconds

            net: nn.Module = InceptionResnetV1(pretrained=None)
            return net
        if name in LAYERS and name != "patches":
            from mer_search.features import resnets  # and so does this

            return resnets.build(name)
    raise InputError("features.backbone.name", f"{name!r} is no face network; {_known(name)}")


def _known(name: str) -> str:
    return did_you_mean(name, (known for known in LAYERS if known != "patches"))


def _vgg_layers() -> Iterator[tuple[str, nn.Module]]:
    """conv1_1 ... conv5_3, fc6, fc7 with their ReLUs and pools, in order."""
    for stage, convolutions, before, after in VGG_STAGES:
        for step in range(1, convolutions + 1):
            yield f"conv{stage}_{step}", nn.Conv2d(before if step == 1 else after, after, 3, 1, 1)
            yield f"relu{stage}_{step}", nn.ReLU(inplace=True)
        yield f"pool{stage}", nn.MaxPool2d(2)
    yield "flatten", nn.Flatten()
    for name, size in (("6", VGG_STAGES[-1][-1] * 7 * 7), ("7", VGG_FULL)):
        yield f"fc{name}", nn.Linear(size, VGG_FULL)
        yield f"relu{name}", nn.ReLU(inplace=True)


def cut(net: nn.Module, layer: str) -> nn.Sequential:
    """The part of `net` that ends with `layer`: images [n, 3, S, S] -> [n, D] or [n, D, h, w]."""
    parts = dict(net.named_children())
    if "conv2d_1a" in parts:  # FaceNet
        order = list(FACENET_ORDER)
        if layer == "embedding":
            order += ["avgpool_1a", "flatten", "last_linear", "last_bn", "embedding"]
            parts |= {"flatten": nn.Flatten(), "embedding": UnitLength()}
    else:
        order = list(parts)
        if layer == "embedding":
            order.append(layer)
            parts[layer] = nn.Flatten()
    last = layer if layer in order and not layer.startswith(("conv", "fc")) else _relu(layer)
    return nn.Sequential(OrderedDict((n, parts[n]) for n in order[: order.index(last) + 1]))


def _relu(layer: str) -> str:
    """`conv5_3` -> `relu5_3`, `fc6` -> `relu6`."""
    return "relu" + layer.removeprefix("conv").removeprefix("fc")


def fold_norms(net: nn.Module) -> None:
    """Puts every BatchNorm behind a convolution into it: fewer passes over memory, equal output.

    FaceNet on two cores does about a fifth more frames per second so (80 for 67).
    """
    for module in net.modules():
        for before, after in CONV_NORM:
            conv, norm = getattr(module, before, None), getattr(module, after, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, before, fuse_conv_bn_eval(conv.eval(), norm.eval()))
                setattr(module, after, nn.Identity())


def randomise(net: nn.Module, seed: int = 0) -> None:
    """He initialisation from `seed`, so that a deep network's activations keep their size."""
    generator = torch.Generator().manual_seed(seed)
    net.to_empty(device="cpu")
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
