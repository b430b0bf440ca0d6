"""Arguments that make no model are told at once; first weights and masks depend on keys alone."""

from __future__ import annotations

import math

import pytest
import torch

from mer_search.errors import InputError
from mer_search.models.architecture import Architecture, dropout_masks, first_weights
from mer_search.models.memory import bank_width, bytes_per_fold, bytes_shared

WRONG = [
    ({"attention": "temporl"}, r"attention 'temporl' is not known; did you mean 'temporal'\?"),
    ({"score": "scaled"}, r"score 'scaled' is not known; did you mean 'scaled-dot'\?"),
    ({"pooling": "max"}, r"pooling 'max' is not known; choose from last, mean"),
    ({"regions": 4}, "4 regions need spatial attention; without it average or flatten"),
    ({"attention": "spatial"}, "attention 'spatial' needs several regions but the features have"),
    (
        {"attention": "spatial", "regions": 4, "score": "self-attention"},
        "score 'self-attention' looks over time but attention is 'spatial'; choose temporal",
    ),
    (
        {"attention": "temporal", "score": "self-attention", "attention_size": 6},
        "attention_size 6 cannot be shared by 4 heads; choose a multiple",
    ),
    (
        {"attention": "temporal", "score": "location"},
        "score 'location' over time needs the number of keyframes; give keyframes",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_arguments_that_make_no_model(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Architecture(channels=5, classes=3, **arguments)


def test_all_faults_come_in_one_message() -> None:
    with pytest.raises(InputError, match="2 faults"):
        Architecture(channels=5, classes=3, regions=4, pooling="max")


def test_first_gates_vary_alike_for_any_number_of_channels() -> None:
    for channels in (64, 4096):
        w = first_weights(Architecture(channels=channels, classes=3), 0)["lstm0_forward_x"]
        spread = (torch.randn(50, channels) @ w).std().item()
        assert math.isclose(spread, 1.0, rel_tol=0.1)


def test_masks_keep_the_mean_and_depend_on_their_key() -> None:
    architecture = Architecture(channels=500, classes=3, dropout=0.5, input_dropout=0.2, layers=2)
    masks = dropout_masks(architecture, 200, 7, 3)
    assert masks.keys() == {"input", "output", "layer1"}
    assert all(abs(mask.mean() - 1) < 0.02 for mask in masks.values())
    again, other = (dropout_masks(architecture, 200, 7, step) for step in (3, 4))
    assert torch.equal(again["input"], masks["input"])
    assert not torch.equal(other["input"], masks["input"])


def test_a_bank_is_cut_into_equal_ones_that_fit() -> None:
    assert bank_width(1000, folds=26, per_fold=10, shared=100) == 26
    assert bank_width(300, folds=26, per_fold=10, shared=100) == 13
    assert bank_width(111, folds=26, per_fold=10, shared=100) == 1
    with pytest.raises(InputError, match=r"one fold needs 3.00 GB and 2.00 GB are free; choose"):
        bank_width(2 << 30, folds=26, per_fold=1 << 30, shared=2 << 30)


def test_the_estimate_counts_weights_moments_and_kept_gradients() -> None:
    wide = Architecture(channels=4096, classes=5)
    plain = bytes_per_fold(wide, batch=1, keyframes=1)
    clipped = bytes_per_fold(wide, batch=1, keyframes=1, clipped=True)
    assert clipped - plain == 4096 * 512 * 4
    assert plain > 3 * 4096 * 512 * 4
    assert (
        bytes_shared(clips=246, batch=32, keyframes=8, regions=1, channels=4096)
        > 246 * 8 * 4096 * 4
    )
    attending = Architecture(channels=512, classes=5, attention="spatial", regions=49)
    projected = Architecture(channels=512, classes=5, projection=64)
    sizes = [bytes_per_fold(a, batch=32, keyframes=8) for a in (attending, projected)]
    assert sizes[0] > 32 * 8 * 49 * 64 * 2 * 4
    assert sizes[1] < plain
