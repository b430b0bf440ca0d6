"""One contract for every option: a bank is F plain modules, only faster."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mer_search.models.architecture import dropout_masks
from mer_search.models.attention_lstm import AttentionLSTM
from mer_search.models.fold_bank import FoldBank

F, B, K, R, D, C = 3, 5, 4, 6, 7, 3
SMALL = {"channels": D, "classes": C, "lstm_size": 6, "attention_size": 8, "heads": 2}
SPATIAL = {"attention": "spatial", "regions": R}
TEMPORAL = {"attention": "temporal", "keyframes": K}
BOTH = {"attention": "spatial-temporal", "regions": R, "keyframes": K}
SCORES = ("additive", "dot", "scaled-dot", "location")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"pooling": "mean"},
    {"layers": 3},
    {"bidirectional": True},
    {"bidirectional": True, "layers": 2, "pooling": "mean"},
    {"projection": 5},
    {"dropout": 0.4, "layers": 2},
    {"input_dropout": 0.3},
    {"input_dropout": 0.3, "projection": 5},
    *({**SPATIAL, "score": score} for score in SCORES),
    *({**TEMPORAL, "score": score} for score in (*SCORES, "self-attention")),
    *({**BOTH, "score": score} for score in (*SCORES, "self-attention")),
    {**BOTH, "bidirectional": True, "layers": 2, "dropout": 0.3, "input_dropout": 0.3},
    {**BOTH, "bidirectional": True, "projection": 5},
    {**TEMPORAL, "bidirectional": True, "score": "dot"},
]


def named(options: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in options.items()) or "plain"


every_option = pytest.mark.parametrize("options", OPTIONS, ids=named)


def different_folds(options: dict[str, Any]) -> tuple[FoldBank, torch.Tensor]:
    """A bank whose folds differ in weights and standardisation, and a minibatch."""
    bank = FoldBank(F, **SMALL, **options)
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in bank.parameters():
            value.add_(torch.randn(value.shape, generator=source), alpha=0.2)
        bank.mean.normal_(generator=source)
        bank.std.uniform_(0.5, 2.0, generator=source)
    return bank, torch.randn(B, K, options.get("regions", 1), D, generator=source)


@every_option
def test_output_maps_and_gradient_equal_those_of_the_plain_modules(options: dict[str, Any]) -> None:
    bank, x = different_folds(options)
    masks = dropout_masks(bank.architecture, B, 0)
    logits, maps = bank(x, masks)
    assert logits.shape == (F, B, C)
    sum((logits.square().sum(), *(m.square().sum() for m in maps.values()))).backward()
    for fold in range(F):
        module = bank.member(fold)
        alone, own = module(x, masks)
        torch.testing.assert_close(logits[fold], alone, atol=1e-5, rtol=1e-5)
        assert maps.keys() == own.keys()
        for name, value in own.items():
            torch.testing.assert_close(maps[name][fold], value, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(value.sum(-1), torch.ones(value.shape[:-1]))
        sum((alone.square().sum(), *(m.square().sum() for m in own.values()))).backward()
        for name, value in module.named_parameters():
            together = getattr(bank, name).grad[fold]
            torch.testing.assert_close(together, value.grad, atol=1e-5, rtol=1e-4, msg=name)


@every_option
def test_a_module_is_rebuilt_from_its_arguments_and_weights(options: dict[str, Any]) -> None:
    bank, x = different_folds(options)
    module = bank.member(1)
    again = AttentionLSTM(**module.arguments)
    again.load_state_dict(module.state_dict())
    assert torch.equal(again(x)[0], module(x)[0])
