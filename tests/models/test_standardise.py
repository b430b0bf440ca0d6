"""Means and deviations fold by fold."""

from __future__ import annotations

import numpy as np
import torch

from mer_search.models.standardise import standardisation


def test_statistics_are_those_of_each_folds_training_clips() -> None:
    x = np.random.default_rng(0).normal(2, 3, (24, 4, 5, 10)).astype(np.float32)
    held_out = (np.arange(24) // 3 % 4) == np.arange(4)[:, None]
    x[..., 3] = 5.0
    mean, std = standardisation(torch.from_numpy(x), torch.from_numpy(~held_out))
    for fold in range(4):
        own = x[~held_out[fold]].reshape(-1, 10).astype(np.float64)
        expected = own.std(0)
        expected[3] = 1.0
        np.testing.assert_allclose(mean[fold], own.mean(0), rtol=1e-5)
        np.testing.assert_allclose(std[fold], expected, rtol=1e-5)
