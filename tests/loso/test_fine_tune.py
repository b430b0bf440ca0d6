"""The last block of a face network learns with the head, on its fold's own clips alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mer_search.config import Backbone, Trial
from mer_search.errors import InputError
from mer_search.features.last_block import first_state
from mer_search.features.records import FeatureSet
from mer_search.loso import fine_needs, memory
from mer_search.loso.averages import mirrored
from mer_search.loso.fine_tune import FineTuning, answers, score
from mer_search.loso.folds import make_folds
from mer_search.loso.run import run_block
from mer_search.models.fine_tuned import FineTuned

pytestmark = pytest.mark.slow
N, K = 9, 2
BACKBONE = {"name": "facenet-casia", "weights": "random", "trainable": "last-block"}


def trial(attention: str = "none", reference: str = "none", **train: Any) -> Trial:
    """`attention` may name another model instead."""
    sizes = {"attention": attention, "lstm_size": 4, "attention_size": 4}
    model = {"name": "gru", "lstm_size": 4} if attention == "gru" else sizes
    return Trial.model_validate({
        "features": {"backbone": BACKBONE, "keyframes": {"count": K}, "reference": reference},
        "model": model,
        "train": {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, **train},
    })  # fmt: skip


@pytest.fixture(scope="module")
def block() -> dict[str, np.ndarray]:
    return dict(first_state(Backbone.model_validate(BACKBONE)))


@pytest.fixture
def features(block: dict[str, np.ndarray]) -> FeatureSet:
    """9 clips of 3 subjects, two classes that differ in some channels at the boundary."""
    rng, label = np.random.default_rng(0), np.arange(N) % 2
    x = rng.random((N, K, 9, 1792)).astype(np.float32)
    x[..., :400] += label[:, None, None, None]
    subject = tuple(("toy", f"s{clip // 3}") for clip in range(N))
    keys = tuple(f"toy/{name}/{clip}" for clip, (_, name) in enumerate(subject))
    return FeatureSet(x, label, subject, keys, ("no", "yes"), "digest", block)


def with_onset(features: FeatureSet) -> FeatureSet:
    return replace(features, x=np.concatenate([features.x, features.x[:, :1] * 0.5], 1))


HELD = np.arange(N) // 3 == np.arange(3)[:, None]
OPTIONS = [
    ("none", "none", {"clip_norm": 0.5, "class_weights": "balanced"}),
    ("spatial-temporal", "onset", {"precision": "bf16", "schedule": "cosine", "epochs": 1}),
    ("gru", "onset", {"label_smoothing": 0.1}),
]


def tuned(features: FeatureSet, settings: Trial, held: np.ndarray = HELD) -> list[FineTuned]:
    return list(FineTuning(features, settings).folds(held))


def same(one: FineTuned, other: FineTuned) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("attention", "reference", "train"), OPTIONS)
def test_a_held_out_clip_changes_no_bit_of_its_fold(
    features: FeatureSet, attention: str, reference: str, train: Any
) -> None:
    given, settings = with_onset(features), trial(attention, reference, **train)
    given = given if reference == "onset" else features
    before = tuned(given, settings, HELD[:2])
    x, label = given.x.copy(), given.label.copy()
    x[HELD[1]] *= -3
    label[HELD[1]] = 1 - label[HELD[1]]
    after = tuned(replace(given, x=x, label=label), settings, HELD[:2])
    assert same(before[1], after[1])
    assert not same(before[0], after[0])
    alone = tuned(given, settings, HELD[1:2])
    assert same(alone[0], before[1]), "folds do not depend on the folds beside them"


def test_block_and_head_learn_at_rates_of_their_own(features: FeatureSet, block: Any) -> None:
    settings = trial(backbone_learning_rate=1e-3)
    (model,) = tuned(features, settings, np.zeros((1, N), bool))
    changed = {n: v for n, v in model.block.state_dict().items()
               if not np.array_equal(v.numpy(), block[n])}  # fmt: skip
    assert changed.keys() == block.keys(), "every tensor of the block learns"
    far = max(np.abs(v.numpy() - block[n]).max() for n, v in changed.items())
    assert far <= 6 * 1e-3 * 1.2, "6 steps of AdamW move no weight further than 6 rates"
    still = trial(backbone_learning_rate=1e-12, backbone_weight_decay=0.0)
    (frozen,) = tuned(features, still, np.zeros((1, N), bool))
    for name, value in frozen.block.state_dict().items():
        np.testing.assert_allclose(value.numpy(), block[name], atol=1e-9)
    assert not torch.equal(frozen.head.class_w, model.head.class_w)


def test_checkpointing_changes_no_number_and_asks_for_less(features: FeatureSet) -> None:
    plain, saving = trial(), trial(checkpointing=True)
    held = np.zeros((1, N), bool)
    (one,), (other,) = tuned(features, plain, held), tuned(features, saving, held)
    np.testing.assert_allclose(
        answers(one, features.x)[0], answers(other, features.x)[0], atol=1e-4
    )
    longer = replace(features, x=np.repeat(features.x, 3, 1))
    most, less = (fine_needs.bytes_of(FineTuning(longer, each)) for each in (plain, saving))
    assert less.fold < most.fold
    assert less.shared == most.shared > features.x.nbytes


def test_what_can_be_learnt_is_learnt_and_scored_by_its_own_fold(features: FeatureSet) -> None:
    folds = make_folds(features.subject, features.label)
    settings = trial("temporal", epochs=6)
    blocks = [run_block(features, folds, i, trial=settings) for i in range(len(folds.blocks))]
    probs = {key: p for block in blocks for key, p in zip(block.keys, block.probs, strict=True)}
    assert sorted(probs) == sorted(features.keys)
    assert blocks[0].maps["temporal"].shape[1:] == (K,)
    found = np.array([probs[key].argmax() for key in features.keys])
    assert (found == features.label).mean() > 0.85


def test_versions_count_once_and_regions_are_taken_away_behind_the_block(
    features: FeatureSet,
) -> None:
    apart = np.random.default_rng(2).uniform(0, 4, (2 * N, 1, 9, 1)).astype(np.float32)
    more = replace(features, x=np.concatenate([features.x, features.x]) * apart)
    settings = trial("spatial", epochs=3)
    again = score(more, HELD[:1], settings)
    assert again.clip.tolist() == [0, 1, 2], "versions are not scored"
    (model,) = tuned(more, settings, HELD[:1])
    probs, maps = answers(model, more.x[:3])
    np.testing.assert_array_equal(again.probs, probs)
    top = maps["spatial"].astype(np.float32).mean(1).argmax(-1)
    with torch.inference_mode():
        rows = model.rows(torch.from_numpy(more.x[:3]))
        for clip, region in enumerate(top):
            rest = [r for r in range(9) if r != region]
            rows[clip, :, region] = rows[clip, :, rest].mean(1)
        without = model.head(rows, None)[0].softmax(-1).numpy()
    assert np.abs(without - probs).max() > 0.003, "a region that counts"
    np.testing.assert_allclose(again.maps["occluded_top"], without, atol=5e-4)
    assert again.maps["occluded_random"].shape == (3, 2)
    assert not np.array_equal(again.maps["occluded_random"], again.maps["occluded_top"])

    both = score(replace(more, mirrored=True), HELD[:1], settings)
    other, seen = answers(model, more.x[N : N + 3])
    np.testing.assert_allclose(both.probs, (probs + other) / 2, atol=1e-6)
    back = (maps["spatial"] + mirrored(seen["spatial"])) / 2
    np.testing.assert_allclose(both.maps["spatial"], back, atol=1e-3)


def test_memory_and_time_are_told_before_and_too_little_is_refused(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = memory.plan(features, 3, trial())
    assert (told.width, told.folds) == (3, 3)
    assert told.seconds is not None
    assert told.needs > features.x.nbytes
    assert "3 folds one after another: " in told.told
    assert told.as_record()["seconds"] == told.seconds
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1 << 20)
    with pytest.raises(InputError, match=r"one fold needs 0\.\d+ GB and 0\.\d+ GB are free"):
        memory.plan(features, 3, trial())


def test_features_that_are_not_finite_are_counted(features: FeatureSet) -> None:
    features.x[0, 0, 0, :2] = np.nan
    with pytest.raises(InputError, match="2 values are not finite; extract again"):
        FineTuning(features, trial())


def test_the_trained_numbers_are_those_of_block_and_head(features: FeatureSet, block: Any) -> None:
    tuning = FineTuning(features, trial())
    own = sum(p.numel() for p in tuning.first.head.parameters())
    assert tuning.parameters == own + sum(v.size for v in block.values())
