"""A small 3-D convolutional network over a clip's maps: the plain form of its family.

After C3D (Tran et al. 2015, arXiv 1412.0767): convolutions of 3x3x3 with ReLU, then a pooling
that keeps time at first. Two of its eight layers, with batch normalisation: a few hundred clips
carry no more. The sizes are ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_search.models.architecture import Dropout
from mer_search.models.head import Head, Maps, dropped, square
from mer_search.models.rivals.norms import OwnNorm

FILTERS = (8, 16)


class CNN3D(Head):
    """(Convolution -> normalisation -> ReLU -> pooling) twice -> mean -> classes."""

    def __init__(
        self, *, channels: int, classes: int, keyframes: int, regions: int, dropout: float = 0.0
    ) -> None:
        super().__init__(
            channels=channels, classes=classes, keyframes=keyframes, regions=regions,
            dropout=dropout,
        )  # fmt: skip
        self.side = square("cnn-3d", regions)
        first, second = FILTERS
        # The normalisation takes any bias away again; its gradient would be rounding alone.
        self.conv1 = nn.Conv3d(channels, first, 3, padding=1, bias=False)
        self.conv2 = nn.Conv3d(first, second, 3, padding=1, bias=False)
        self.bn1, self.bn2 = OwnNorm(first), OwnNorm(second)
        self.fc = nn.Linear(second * self.left**2, classes)

    @property
    def left(self) -> int:
        """Pixels of a side after both poolings, which small maps have not the room for."""
        return max(1, self.side // 2 // 2)

    def dropout(self) -> Dropout:
        return {"output": (self.arguments["dropout"], (self.fc.in_features,))}

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Logits [B,C] of x [B,K,H*W,D]."""
        maps = self.standardised(x).permute(0, 3, 1, 2)  # [B,D,K,H*W]
        y = self.bn1(self.conv1(torch.unflatten(maps, 3, (self.side, self.side))), own).relu()
        y = functional.max_pool3d(y, (1, 2, 2)) if self.side >= 2 else y
        y = self.bn2(self.conv2(y), own).relu()
        y = functional.max_pool3d(y, (1, 2, 2)) if self.side >= 4 else y
        logits: Tensor = self.fc(dropped(y.mean(2).flatten(1), masks, "output"))
        return logits, {}
