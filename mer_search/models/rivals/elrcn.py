"""ELRCN's temporal part over cached face features, Khor et al. 2018.

"Enriched Long-term Recurrent Convolutional Network for Facial Micro-Expression Recognition", FG
2018, arXiv 1805.08417: VGG-Face's 4,096 features per frame go through two LSTM layers (2,622 and
1,000 units in the authors' code, github.com/IcedDoggie/Micro-Expression-with-Deep-Learning,
train.py), 128 hidden units with ReLU and the classes. Here the face network is the backbone (take
`vgg-face`, layer `fc7`, ten keyframes by `tim` for theirs), both LSTMs have `lstm_size` units, and
the classes a softmax where that code has sigmoids.
"""

from __future__ import annotations

from torch import Tensor, nn

from mer_search.models.architecture import Dropout
from mer_search.models.head import Head, Maps, dropped
from mer_search.models.rivals.cells import Recurrent

HIDDEN = 128


class ELRCN(Head):
    """LSTM layers -> the last state -> hidden units -> classes."""

    def __init__(
        self, *, channels: int, classes: int, keyframes: int = 0, regions: int = 1,
        lstm_size: int = 128, layers: int = 1, dropout: float = 0.0, input_dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(
            channels=channels, classes=classes, keyframes=keyframes, regions=regions,
            lstm_size=lstm_size, layers=layers, dropout=dropout, input_dropout=input_dropout,
        )  # fmt: skip
        self.lstm = Recurrent("lstm", channels, lstm_size, layers=layers)
        self.hidden = nn.Linear(lstm_size, HIDDEN)
        self.fc = nn.Linear(HIDDEN, classes)

    def dropout(self) -> Dropout:
        a = self.arguments
        names = ["state", *(f"layer{layer}" for layer in range(1, a["layers"]))]
        found: Dropout = dict.fromkeys(names, (a["dropout"], (a["lstm_size"],)))
        return found | {"input": (a["input_dropout"], (a["channels"],))}

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Logits [B,C] of x [B,K,1,D]."""
        states = self.lstm(dropped(self.standardised(x[:, :, 0]), masks, "input"), masks)
        last = dropped(states[:, -1], masks, "state")
        logits: Tensor = self.fc(self.hidden(last).relu())
        return logits, {}
