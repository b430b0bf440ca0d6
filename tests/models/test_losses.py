"""Losses against PyTorch's own, and per fold."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from mer_search.models import losses

F, B, C = 3, 6, 4
LOGITS = torch.randn(F, B, C, generator=torch.Generator().manual_seed(0))
LABEL = torch.tensor([0, 1, 2, 3, 1, 1])


def test_cross_entropy_and_smoothing_are_those_of_pytorch() -> None:
    for smoothing in (0.0, 0.2):
        found = losses.clip_losses(LOGITS, LABEL, smoothing=smoothing)
        for fold in range(F):
            own = cross_entropy(LOGITS[fold], LABEL, reduction="none", label_smoothing=smoothing)
            torch.testing.assert_close(found[fold], own)


def test_focal_loss_weighs_each_clip_by_its_own_doubt() -> None:
    plain, focal = losses.clip_losses(LOGITS, LABEL), losses.clip_losses(LOGITS, LABEL, gamma=2.0)
    torch.testing.assert_close(focal, plain * (1 - (-plain).exp()) ** 2)


def test_balanced_weights_count_the_training_clips_of_each_fold() -> None:
    training = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]]).bool()
    found = losses.class_weights(LABEL, training, C, balanced=True)
    expected = [[1.5, 0.5, 1.5, 1.5], [0, 5 / 9, 5 / 3, 5 / 3], [1, 1, 0, 0]]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert (losses.class_weights(LABEL, training, C, balanced=False) == 1).all()


def test_equal_attention_over_regions_costs_nothing() -> None:
    even = torch.full((1, 1, 4, 8), 1 / 8)
    assert losses.doubly_stochastic(even).item() == 0
    one = torch.zeros(1, 1, 4, 8)
    one[..., 0] = 1
    assert losses.doubly_stochastic(one).item() == 3.5**2 + 7 * 0.5**2
