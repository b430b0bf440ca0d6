"""The last block of a face network with a head behind it: one model of one fold, trained as one.

What enters is cached: the frozen part's maps of the key frames. Letters in `architecture.py`;
R0, D0: regions and channels of those maps.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mer_search.models.catalogue import Plain
from mer_search.models.head import Head, Maps


class FineTuned(nn.Module):
    """Block, then head. The block never leaves its evaluation mode: its BatchNorm stays frozen.

    Args:
        block: maps [n, D0, h, w] -> [n, D, h', w'] or [n, D].
        head: what takes the block's regions.
        regions: what is done to the block's regions: "keep", "mean" or "flatten".
        reference: whether the last row of the input is the onset, which is subtracted.
    """

    def __init__(
        self,
        block: nn.Module,
        head: Plain,
        *,
        regions: Literal["keep", "mean", "flatten"],
        reference: bool,
    ) -> None:
        super().__init__()
        self.block, self.head = block.eval(), head
        self.regions, self.reference = regions, reference
        self.checkpointing = False

    @property
    def arguments(self) -> dict[str, Any]:
        """Of the head."""
        return self.head.arguments

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the head's attention maps."""
        return tuple(self.head.maps)

    def train(self, mode: bool = True) -> FineTuned:
        """As of every module, but for the block."""
        super().train(mode)
        self.block.eval()
        return self

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Logits [B,C] and attention maps of x [B,K,R0,D0], or [B,K+1,R0,D0] with the onset."""
        return self.answer(self.rows(x), masks, own)

    def answer(
        self, rows: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """The head's, of what `rows` gives."""
        answer: tuple[Tensor, Maps] = (
            self.head(rows, masks, own) if isinstance(self.head, Head) else self.head(rows, masks)
        )
        return answer

    def rows(self, x: Tensor) -> Tensor:
        """What the head takes [B,K,R,D]."""
        if self.checkpointing and torch.is_grad_enabled():
            again = [checkpoint(self._embed, frame, use_reentrant=False) for frame in x.unbind(1)]
            y = torch.stack(again, 1)
        else:
            y = torch.unflatten(self._embed(x.flatten(0, 1)), 0, x.shape[:2])
        y = y.float()
        if self.reference:
            y = y[:, :-1] - y[:, -1:]
        if self.regions == "mean":
            return y.mean(2, keepdim=True)
        return y.flatten(2).unsqueeze(2) if self.regions == "flatten" else y

    def _embed(self, frames: Tensor) -> Tensor:
        """[n,R0,D0] -> [n,R,D], as `features.backbones` lays out a map."""
        side = math.isqrt(frames.shape[1])
        y: Tensor = self.block(torch.unflatten(frames.transpose(1, 2), 2, (side, side)))
        return y.unsqueeze(1) if y.ndim == 2 else y.flatten(2).transpose(1, 2)
