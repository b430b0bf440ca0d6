"""Several modules of one architecture, trained from different seeds, that answer as one.

Letters in `architecture.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from mer_search.models.catalogue import Plain
from mer_search.models.fine_tuned import FineTuned
from mer_search.models.head import Maps

Member = Plain | FineTuned


class Ensemble(nn.Module):
    """Means of the members' probabilities and attention. Not for training.

    Args:
        members: at least one; all of one architecture.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def arguments(self) -> dict[str, Any]:
        """Of each member: `build_plain(name, **arguments)` builds it again."""
        return self.first.arguments

    @property
    def first(self) -> Member:
        """The member of the first seed."""
        return cast(Member, self.members[0])

    def forward(self, x: Tensor) -> tuple[Tensor, Maps]:
        """Probabilities [B,C] and maps (`spatial` [B,K,R], `temporal` [B,K]) of x [B,K,R,D]."""
        answers = [member(x) for member in self.members]
        probs = torch.stack([logits.softmax(-1) for logits, _ in answers]).mean(0)
        maps = [maps for _, maps in answers]
        return probs, {name: torch.stack([m[name] for m in maps]).mean(0) for name in maps[0]}
