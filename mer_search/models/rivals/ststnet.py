"""The shallow triple stream network on optical-flow maps, Liong et al. 2019.

"Shallow Triple Stream Three-dimensional CNN (STSTNet) for Micro-expression Recognition", FG 2019,
arXiv 1902.03634. Layers, their order and their names are those of the authors' PyTorch form
(github.com/christy1206/STSTNet, main.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_search.models.architecture import Dropout
from mer_search.models.head import Head, Maps, State, as_maps, dropped, square
from mer_search.models.rivals.norms import OwnNorm

FILTERS = (3, 5, 8)


class STSTNet(Head):
    """Three branches of 3, 5 and 8 filters over the same maps, classified together.

    The branches differ in nothing else and are one convolution here.

    On one 28x28x3 map (flow in x and y, strain) 1,683 parameters, 1,651 without BatchNorm.
    Several maps of a clip become channels.
    """

    def __init__(
        self, *, channels: int, classes: int, keyframes: int, regions: int, dropout: float = 0.0
    ) -> None:
        super().__init__(
            channels=channels, classes=classes, keyframes=keyframes, regions=regions,
            dropout=dropout,
        )  # fmt: skip
        side = square("ststnet", regions)
        # Padding 2 makes side + 2; pooled by 3 with padding 1, then by 2.
        self.pooled = (side + 1) // 3 + 1
        filters = sum(FILTERS)
        self.conv = nn.Conv2d(keyframes * channels, filters, 3, padding=2)
        self.bn = OwnNorm(filters)
        self.fc = nn.Linear(filters * (self.pooled // 2) ** 2, classes)

    def dropout(self) -> Dropout:
        """As published on the pooled maps; there the rate is .5."""
        shape = (self.bn.weight.numel(), self.pooled, self.pooled)
        return {"pooled": (self.arguments["dropout"], shape)}

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Logits [B,C] of x [B,K,H*W,D]."""
        y = self.bn(self.first(self.conv, as_maps(x)).relu(), own)
        y = dropped(functional.max_pool2d(y, 3, stride=3, padding=1), masks, "pooled")
        logits: Tensor = self.fc(functional.avg_pool2d(y, 2).flatten(1))
        return logits, {}

    def renamed(self, state: State) -> State:
        """The published layout, where each branch has its own `conv` and `bn`, 1 to 3."""
        found = {name: value for name, value in state.items() if name.startswith("fc.")}
        for part in (name for name in self.state_dict() if name.startswith(("conv.", "bn."))):
            layer, _, end = part.partition(".")
            found[part] = torch.cat([state[f"{layer}{n}.{end}"] for n in (1, 2, 3)])
        return found
