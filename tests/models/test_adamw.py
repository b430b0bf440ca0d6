"""The optimiser against PyTorch's, and its clipping fold by fold."""

from __future__ import annotations

import pytest
import torch

from mer_search.models.adamw import BankAdamW, clip_folds
from mer_search.models.fold_bank import FoldBank

SIZES = {"channels": 7, "classes": 3, "lstm_size": 6}


def loss(bank: FoldBank, x: torch.Tensor) -> torch.Tensor:
    return bank(x)[0].square().sum((1, 2)) @ torch.tensor([1.0, 100.0])


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_updates_are_those_of_pytorch_fold_by_fold(clip_norm: float) -> None:
    source = torch.Generator().manual_seed(0)
    bank, rival = FoldBank(2, **SIZES), FoldBank(2, **SIZES)
    ours = BankAdamW(bank, weight_decay=0.1, clip_norm=clip_norm)
    groups = [
        {"params": [p for p in rival.parameters() if p.dim() > 2], "weight_decay": 0.1},
        {"params": [p for p in rival.parameters() if p.dim() <= 2], "weight_decay": 0.0},
    ]
    theirs = torch.optim.AdamW(groups, lr=0.01)
    for _ in range(4):
        x = torch.randn(5, 4, 1, 7, generator=source)
        ours.step(loss(bank, x), 0.01)
        theirs.zero_grad()
        loss(rival, x).backward()
        if clip_norm:
            clip_folds([p.grad for p in rival.parameters()], clip_norm)
        theirs.step()
    for (name, own), other in zip(bank.named_parameters(), rival.parameters(), strict=True):
        torch.testing.assert_close(own, other, msg=name)


def test_a_long_gradient_of_one_fold_shortens_no_other() -> None:
    grads = [torch.ones(2, 3, 4), torch.ones(2, 4)]
    grads[0][1] *= 100
    clip_folds(grads, 5.0)
    assert torch.equal(grads[0][0], torch.ones(3, 4))
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in grads]).norm(dim=0)
    torch.testing.assert_close(norms, torch.tensor([4.0, 5.0]))
