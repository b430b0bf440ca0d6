"""A gated recurrent network without attention (Cho et al. 2014). Letters in `architecture.py`."""

from __future__ import annotations

from torch import Tensor, nn

from mer_search.models.architecture import Dropout
from mer_search.models.head import Head, Maps, dropped
from mer_search.models.rivals.cells import Recurrent


class GRU(Head):
    """(projection ->) GRU -> the last state, or the mean of all -> classes."""

    def __init__(
        self, *, channels: int, classes: int, keyframes: int = 0, regions: int = 1,
        lstm_size: int = 128, layers: int = 1, bidirectional: bool = False, projection: int = 0,
        pooling: str = "last", dropout: float = 0.0, input_dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(
            channels=channels, classes=classes, keyframes=keyframes, regions=regions,
            lstm_size=lstm_size, layers=layers, bidirectional=bidirectional,
            projection=projection, pooling=pooling, dropout=dropout, input_dropout=input_dropout,
        )  # fmt: skip
        self.project = nn.Linear(channels, projection) if projection else None
        self.gru = Recurrent(
            "gru", projection or channels, lstm_size, layers=layers, bidirectional=bidirectional
        )
        self.fc = nn.Linear(lstm_size * (1 + bidirectional), classes)

    def dropout(self) -> Dropout:
        a, states = self.arguments, (self.fc.in_features,)
        names = ["output", *(f"layer{layer}" for layer in range(1, a["layers"]))]
        found: Dropout = dict.fromkeys(names, (a["dropout"], states))
        return found | {"input": (a["input_dropout"], (a["channels"],))}

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Logits [B,C] of x [B,K,1,D]."""
        frames = dropped(self.standardised(x[:, :, 0]), masks, "input")
        if self.project is not None:
            frames = self.project(frames)
        states = self.gru(frames, masks)
        mean = self.arguments["pooling"] == "mean"
        pooled = states.mean(1) if mean else self.gru.final(states)
        logits: Tensor = self.fc(dropped(pooled, masks, "output"))
        return logits, {}
