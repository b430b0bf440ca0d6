"""OFF-ApexNet on optical flow from onset to apex, Gan et al. 2019.

"OFF-ApexNet on Micro-expression Recognition System", Signal Processing: Image Communication 74,
arXiv 1805.08699: horizontal and vertical flow in two streams of two 5x5 convolutions (6 and 16
filters), each followed by ReLU and a pooling of 2; two hidden layers of 1,024 units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_search.errors import InputError
from mer_search.models.architecture import Dropout
from mer_search.models.head import Head, Maps, as_maps, dropped, square

FILTERS, HIDDEN = (6, 16), 1024


class Stream(nn.Module):
    """The convolutions of one component of the flow."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(maps, FILTERS[0], 5, padding=2)
        self.conv2 = nn.Conv2d(*FILTERS, 5, padding=2)


class OFFApexNet(Head):
    """Two streams, over the first and the second channel of the maps; further ones are not used.

    On one 28x28 map of three classes 2,664,475 parameters. Several maps of a clip become channels
    of both streams.
    """

    def __init__(
        self, *, channels: int, classes: int, keyframes: int, regions: int, dropout: float = 0.0
    ) -> None:
        super().__init__(
            channels=channels, classes=classes, keyframes=keyframes, regions=regions,
            dropout=dropout,
        )  # fmt: skip
        side = square("off-apexnet", regions)
        if side < 4 or channels < 2:
            raise InputError(
                "model.name",
                f"off-apexnet takes maps of 4x4 pixels or more whose first two channels are the "
                f"flow, found {side}x{side} with {channels}; give such maps",
            )
        self.cnn1, self.cnn2 = Stream(keyframes), Stream(keyframes)
        self.seen = 2 * FILTERS[1] * (side // 4) ** 2
        self.dense = nn.ModuleDict(
            {
                "0": nn.Linear(self.seen, HIDDEN),
                "3": nn.Linear(HIDDEN, HIDDEN),
                "6": nn.Linear(HIDDEN, classes),
            }
        )

    def dropout(self) -> Dropout:
        """Before the second and the third dense layer."""
        rate = self.arguments["dropout"]
        return {"hidden1": (rate, (HIDDEN,)), "hidden2": (rate, (HIDDEN,))}

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Logits [B,C] of x [B,K,H*W,D]."""
        maps, streams = as_maps(x), []
        for component, stream in enumerate((self.cnn1, self.cnn2)):
            y = functional.max_pool2d(self.first(stream.conv1, maps, component).relu(), 2)
            streams.append(functional.max_pool2d(stream.conv2(y).relu(), 2).flatten(1))
        y = self.dense["0"](torch.cat(streams, 1)).relu()
        y = self.dense["3"](dropped(y, masks, "hidden1")).relu()
        logits: Tensor = self.dense["6"](dropped(y, masks, "hidden2"))
        return logits, {}
