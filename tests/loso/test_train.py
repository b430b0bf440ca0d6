"""The loop keeps folds apart: from held-out clips, from each other, from how they are grouped."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from mer_search.config import MAP_MODELS, USES, Model, Train
from mer_search.errors import InputError
from mer_search.loso.run import regions_of as regions
from mer_search.loso.train import (
    Training,
    learning_rate,
    predict,
    predict_all,
    train_bank,
)

N, K, R, D, C, F = 24, 4, 16, 10, 3, 4
SMALL = {"lstm_size": 8, "attention_size": 8, "heads": 2}
OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"pooling": "mean", "projection": 6}, {"clip_norm": 0.1}),
    ({"attention": "temporal", "score": "self-attention"}, {"schedule": "cosine", "warmup": 0.2}),
    ({"attention": "spatial", "doubly_stochastic": 0.1}, {"class_weights": "balanced"}),
    ({"attention": "spatial-temporal", "score": "location"}, {"loss": "focal"}),
    ({"layers": 2, "bidirectional": True, "dropout": 0.3}, {"label_smoothing": 0.1}),
    (
        {"input_dropout": 0.3, "attention": "spatial"},
        {"clip_norm": 0.5, "class_weights": "balanced", "loss": "focal", "focal_gamma": 0.5},
    ),
    ({"name": "lstm", "pooling": "mean"}, {}),
    ({"name": "transformer", "dropout": 0.3, "layers": 2}, {"schedule": "cosine"}),
    ({"name": "majority"}, {}),
    ({"name": "elrcn", "layers": 2, "dropout": 0.3}, {}),
    ({"name": "mean-pool", "projection": 5, "dropout": 0.3}, {"clip_norm": 0.1}),
    ({"name": "gru", "layers": 2, "bidirectional": True, "input_dropout": 0.3}, {}),
    *(
        ({"name": name, "dropout": 0.3}, {"class_weights": "balanced"})
        for name in sorted(MAP_MODELS)
    ),
]

SLOW = {"off-apexnet", "cnn-3d", "bi-woof-svm", "lbp-top-svm"}
every_option = pytest.mark.parametrize(
    ("model", "train"),
    [pytest.param(*option, marks=pytest.mark.slow if option[0].get("name") in SLOW else ())
     for option in OPTIONS],
    ids=lambda o: str(o) or "plain",
)  # fmt: skip


def test_every_model_is_among_them() -> None:
    assert {model.get("name", "attention-lstm") for model, _ in OPTIONS} == USES.keys()


def clips(regions: int, signal: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    source = np.random.default_rng(0)
    label = np.arange(N) % C
    x = source.normal(2.0, 3.0, (N, K, regions, D)).astype(np.float32)
    x[np.arange(N), :, :, label] += signal * 3
    held_out = (np.arange(N) // 3 % F) == np.arange(F)[:, None]
    return x, label, held_out


def run(model: dict[str, Any], train: dict[str, Any], x: Any, label: Any, held_out: Any) -> Any:
    settings = Train(**{"epochs": 3, "batch_size": 7, "learning_rate": 0.01, **train})
    return train_bank(x, label, held_out, model=Model(**SMALL, **model), train=settings, classes=C)


def regions_of(model: dict[str, Any]) -> int:
    keep = regions(Model(**model)) == "keep"
    return 1 if not keep else 4 * R if "svm" in model.get("name", "") else R


@every_option
def test_a_held_out_clip_changes_no_bit_of_its_fold(model: Any, train: Any) -> None:
    x, label, held_out = clips(regions_of(model))
    before = run(model, train, x, label, held_out)
    x[held_out[1]] = 1e4 * np.random.default_rng(1).normal(size=x[held_out[1]].shape)
    label[held_out[1]] = (label[held_out[1]] + 1) % C
    after = run(model, train, x, label, held_out)
    changed = False
    for name, value in before.state_dict().items():
        other = after.state_dict()[name]
        assert value[1].numpy().tobytes() == other[1].numpy().tobytes(), name
        changed |= not torch.equal(value[0], other[0])
    assert changed


@every_option
@pytest.mark.slow
def test_one_bank_equals_banks_of_one_fold_and_itself(model: Any, train: Any) -> None:
    x, label, held_out = clips(regions_of(model))
    bank = run(model, train, x, label, held_out)
    again = run(model, train, x, label, held_out)
    for fold in range(F):
        alone = run(model, train, x, label, held_out[fold : fold + 1])
        for name, value in bank.state_dict().items():
            assert torch.equal(value, again.state_dict()[name]), name
            other = alone.state_dict()[name][0]
            # Adam makes steps of the learning rate out of gradients that are rounding alone.
            apart = (value[fold] - other).abs()
            assert apart.mean() < 1e-6, name
            assert (apart > 1e-4).float().mean() < 1e-4, name


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["none", "spatial", "temporal", "spatial-temporal"])
def test_what_can_be_learnt_is_learnt(attention: str) -> None:
    model = {"attention": attention}
    x, label, held_out = clips(regions_of(model))
    bank = run(model, {"epochs": 30}, x, label, held_out)
    found = predict(bank, x, held_out)
    assert np.array_equal(found.clip[np.argsort(found.clip)], np.arange(N))
    assert held_out[found.fold, found.clip].all()
    np.testing.assert_allclose(found.probs.sum(1), 1, atol=1e-5)
    assert (found.probs.argmax(1) == label[found.clip]).mean() > 0.9
    everything = predict_all(bank, x, batch_size=5)
    np.testing.assert_allclose(everything[found.fold, found.clip], found.probs, atol=1e-5)


def test_features_that_are_not_finite_are_counted() -> None:
    x, label, held_out = clips(1)
    x[0, 0, 0, :2] = np.nan, 1e30
    with pytest.raises(InputError, match=r"2 of 960 values are not finite or above 1e\+15"):
        run({}, {}, x, label, held_out)


def test_shapes_and_labels_that_do_not_belong_together() -> None:
    x, label, held_out = clips(1)
    with pytest.raises(InputError, match=r"held_out \[F,N\] \(4, 23\) do not belong together"):
        run({}, {}, x, label, held_out[:, 1:])
    with pytest.raises(InputError, match="1 labels lie outside 0 to 2"):
        run({}, {}, x, np.where(np.arange(N) == 5, 7, label), held_out)


def test_the_rate_rises_then_falls_to_nothing() -> None:
    settings = Train(learning_rate=1.0, warmup=0.2, schedule="cosine")
    rates = [learning_rate(step, 10, settings) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 0.05
    assert learning_rate(9, 10, Train(learning_rate=1.0)) == 1.0


def test_rounded_products_are_near_and_the_switch_goes_back() -> None:
    x, label, held_out = clips(1)
    before = torch.backends.mkldnn.matmul.fp32_precision
    probs = [
        predict_all(run({}, {"precision": precision}, x, label, held_out), x)
        for precision in ("fp32", "bf16")
    ]
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    np.testing.assert_allclose(*probs, atol=0.1)


def test_read_only_features_and_folds_without_held_out_clips() -> None:
    x, label, _ = clips(1)
    x.flags.writeable = False
    bank = run({}, {}, x, label, np.zeros((1, N), bool))
    assert predict_all(bank, x).shape == (1, N, C)
    assert predict(bank, x, np.zeros((1, N), bool)).probs.shape == (0, C)


def test_the_seed_of_the_call_wins() -> None:
    x, label, held_out = clips(1)
    settings = {"model": Model(**SMALL), "train": Train(epochs=1), "classes": C}
    banks = [train_bank(x, label, held_out, seed=seed, **settings) for seed in (None, 0, 1)]
    assert torch.equal(banks[0].class_w, banks[1].class_w)
    assert not torch.equal(banks[0].class_w, banks[2].class_w)


def living_tensors() -> int:
    """Tensors that something refers to, seen or unseen by the collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # looking at every object wakes deprecated ones
        return sum(type(each) is torch.Tensor for each in gc.get_objects())


@every_option
@pytest.mark.slow
def test_a_step_leaves_nothing_behind(model: dict[str, Any], train: dict[str, Any]) -> None:
    """A ring through autograd's graph once kept every minibatch's activations to the end."""
    x, label, held_out = clips(regions_of(model))
    training = Training(
        x, label, held_out, model=Model(**SMALL | model), train=Train(**train), classes=C
    )
    if not training.steps:
        assert not list(training.bank.parameters())
        return
    gc.collect()
    gc.disable()
    try:
        training.step()
        before = living_tensors()
        for _ in range(3):
            training.step()
        assert living_tensors() <= before
    finally:
        gc.enable()
