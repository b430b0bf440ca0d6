"""Images -> embeddings: FaceNet, VGG-Face, ResNets, or the raw values of a map's patches.

Letters: n images, S pixels of a side, R regions, D channels, h, w size of a feature map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mer_search.config import BOUNDARIES, LAYERS
from mer_search.errors import InputError, WeightsMissing, did_you_mean
from mer_search.features import weights
from mer_search.features.align import warp
from mer_search.features.networks import cut, fold_norms, network, randomise

BATCH = 32
MEANS_RGB = (129.1863, 104.7624, 93.5940)  # of VGG-Face's training images
MEANS_RGB_2 = (131.0912, 103.8827, 91.4953)  # of VGGFace2's


@dataclass(frozen=True)
class Input:
    """What a network expects: (image - mean) / scale at `size` pixels."""

    size: int
    mean: tuple[float, float, float]
    scale: float


INPUTS = {
    "facenet-casia": Input(160, (127.5,) * 3, 128.0),
    "facenet-vggface2": Input(160, (127.5,) * 3, 128.0),
    "vgg-face": Input(224, MEANS_RGB, 1.0),
    "resnet50-vggface2": Input(224, MEANS_RGB_2, 1.0),
    "senet50-vggface2": Input(224, MEANS_RGB_2, 1.0),
}


class Backbone(Protocol):
    """Anything that turns images [n, ...] into embeddings [n, R, D], each by itself."""

    def embed(self, images: NDArray[Any]) -> NDArray[np.float32]: ...


class FaceNetwork:
    """A face network cut at a layer. Not for training.

    A batch is always filled up to `batch` images in bf16: oneDNN rounds differently for other batch
    sizes, which fp32 shows in the seventh digit and bf16 in the third.
    """

    def __init__(
        self, net: nn.Module, expects: Input, *, device: str, precision: str, batch: int = BATCH
    ) -> None:
        self.net = net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.expects, self.device, self.batch = expects, torch.device(device), batch
        self.half = precision == "bf16"

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 RGB faces [n, S, S, 3] -> [n, R, D]; resized when S is not the network's."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise InputError(
                "features.backbone.name",
                "a face network takes 8-bit colour images, found "
                f"{images.dtype} {images.shape[1:]}; use the backbone patches for maps",
            )
        if images.shape[1:3] != (self.expects.size,) * 2:
            images = warp(list(images), None, self.expects.size)
        parts = [images[i : i + self.batch] for i in range(0, len(images), self.batch)]
        return np.concatenate([self._embed_batch(part) for part in parts])

    @torch.inference_mode()
    def _embed_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(images)
        if self.half and count < self.batch:
            images = np.concatenate([images, np.repeat(images[:1], self.batch - count, axis=0)])
        mean = torch.tensor(self.expects.mean, device=self.device)
        x = torch.from_numpy(images).to(self.device).float().sub_(mean).div_(self.expects.scale)
        x = x.permute(0, 3, 1, 2)  # channels_last as it lies in memory
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            y: Tensor = self.net(x)
        return _regions(y[:count].float()).cpu().numpy()


def _regions(y: Tensor) -> Tensor:
    """[n, D] -> [n, 1, D]; [n, D, h, w] -> [n, h*w, D], rows of the map from the top."""
    return y.unsqueeze(1) if y.ndim == 2 else y.flatten(2).transpose(1, 2).contiguous()


@dataclass(frozen=True)
class Patches:
    """Each map cut into grid x grid regions of raw values. No network."""

    grid: int

    def embed(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Maps [n, H, W, C] -> [n, grid*grid, (H/grid)*(W/grid)*C]."""
        n, height, width, channels = images.shape
        g = self.grid
        if height % g or width % g:
            raise InputError(
                "features.backbone.grid",
                f"must divide the maps' height and width, found {g} for {height}x{width}; "
                "choose a divisor of both",
            )
        cells = images.reshape(n, g, height // g, g, width // g, channels)
        return cells.swapaxes(2, 3).reshape(n, g * g, -1).astype(np.float32)


def build(
    name: str,
    layer: str,
    *,
    grid: int = 7,
    pretrained: bool = True,
    precision: str = "fp32",
    device: str = "cpu",
) -> Backbone:
    """A backbone by its settings.

    Raises:
        InputError: an unknown network or layer.
        WeightsMissing: pretrained weights that are not on this machine, or end before `layer`.
    """
    boundaries = {begin for (net, _), begin in BOUNDARIES.items() if net == name}
    if layer not in {*LAYERS.get(name, ()), *boundaries}:
        cure = did_you_mean(layer, LAYERS[name]) if name in LAYERS else did_you_mean(name, LAYERS)
        raise InputError("features.backbone", f"{name!r} has no layer {layer!r}; {cure}")
    if name == "patches":
        return Patches(grid)
    net = loaded(name, layer, pretrained=pretrained)
    return FaceNetwork(cut(net, layer), INPUTS[name], device=device, precision=precision)


def loaded(name: str, layer: str, *, pretrained: bool) -> nn.Module:
    """A whole network with its weights as far as `layer`, BatchNorm folded into convolutions.

    Raises:
        WeightsMissing: as `build`.
    """
    net = network(name)
    if pretrained:
        _load(net, name, layer)
    else:
        randomise(net)
    fold_norms(net)
    return net


def _load(net: nn.Module, name: str, layer: str) -> None:
    """The present weights; files called notop have none of VGG-Face's fc6 and fc7."""
    state = weights.load(name)[0]
    lacking = sorted(cut(net, layer).state_dict().keys() - state.keys())
    if lacking:
        raise WeightsMissing(
            name,
            f"the file that was imported ends before {layer} ({lacking[0]} is missing); import a "
            "whole one, or use an earlier layer",
        )
    net.load_state_dict(state, assign=True, strict=name != "vgg-face")
