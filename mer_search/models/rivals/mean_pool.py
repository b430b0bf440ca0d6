"""The floor for anything that looks at order: the mean of a clip's keyframes, classified."""

from __future__ import annotations

from torch import Tensor, nn

from mer_search.models.architecture import Dropout
from mer_search.models.head import Head, Maps, dropped


class MeanPool(Head):
    """Mean over keyframes -> (a hidden layer of `projection` units with ReLU) -> classes."""

    def __init__(
        self, *, channels: int, classes: int, keyframes: int = 0, regions: int = 1,
        projection: int = 0, dropout: float = 0.0, input_dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(
            channels=channels, classes=classes, keyframes=keyframes, regions=regions,
            projection=projection, dropout=dropout, input_dropout=input_dropout,
        )  # fmt: skip
        self.project = nn.Linear(channels, projection) if projection else None
        self.fc = nn.Linear(projection or channels, classes)

    def dropout(self) -> Dropout:
        a = self.arguments
        return {
            "input": (a["input_dropout"], (a["channels"],)),
            "output": (a["dropout"], (self.fc.in_features,)),
        }

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Logits [B,C] of x [B,K,R,D]; regions are averaged too."""
        pooled = dropped(self.standardised(x.mean((1, 2))), masks, "input")
        if self.project is not None:
            pooled = self.project(pooled).relu()
        logits: Tensor = self.fc(dropped(pooled, masks, "output"))
        return logits, {}
