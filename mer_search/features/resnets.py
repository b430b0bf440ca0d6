"""VGGFace2's ResNet-50 and SE-ResNet-50 as plain modules. Not for weights or pixels.

| layer | map at 224 pixels | R x D |
|---|---|---|
| layer3, layer4 | 14x14, 7x7 | 196x1024, 49x2048 |
| embedding | layer4 averaged | 1x2048 |

They differ from torchvision's in what Caffe's networks do: a stage halves its map in the first
convolution of its first block, and the pool before the stages is not padded but rounds up.
Source: Cao et al. 2018, "VGGFace2: a dataset for recognising faces across pose and age".
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import SqueezeExcitation

BLOCKS = [3, 4, 6, 3]
WIDTH = 64
"""Channels inside the first stage's blocks."""
SQUEEZE = 16
"""By how much squeeze and excitation narrows a block's channels."""


class CaffeBottleneck(Bottleneck):  # type: ignore[misc]  # torchvision has no types
    """A block that halves its map in the first convolution, not in the second."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride


class ExcitedBottleneck(CaffeBottleneck):
    """The same with squeeze and excitation before the shortcut is added (Hu et al. 2018)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        channels = self.conv3.out_channels
        self.excite = SqueezeExcitation(channels, channels // SQUEEZE)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.excite(self.bn3(self.conv3(y))) + shortcut
        out: Tensor = self.relu(y)
        return out


NETWORKS: dict[str, type[Bottleneck]] = {
    "resnet50-vggface2": CaffeBottleneck,
    "senet50-vggface2": ExcitedBottleneck,
}


def build(name: str) -> nn.Module:
    """The network without its last layer (8631 identities)."""
    net: nn.Module = ResNet(NETWORKS[name], BLOCKS, width_per_group=WIDTH)
    net.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
    del net.fc
    return net
