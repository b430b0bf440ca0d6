"""A trial's blocks cover every clip once, by folds that never saw it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mer_search.config import Model, Train, Trial
from mer_search.errors import DamagedRecord, MerSearchError
from mer_search.features.records import FeatureSet
from mer_search.loso import run
from mer_search.loso.averages import mirrored
from mer_search.loso.folds import make_folds
from mer_search.loso.result import pooled, scores_of
from mer_search.loso.run import regions_of, run_block
from mer_search.loso.train import train_bank


@pytest.fixture(scope="module")
def features() -> FeatureSet:
    """24 clips of 6 subjects, two classes that differ in their first channel."""
    rng = np.random.default_rng(0)
    label = np.arange(24) % 2
    x = rng.standard_normal((24, 3, 4, 5)).astype(np.float32)
    x[..., 0] += 3.0 * label[:, None, None]
    subject = tuple(("toy", f"sub{clip // 4}") for clip in range(24))
    keys = tuple(f"toy/{name}/{clip}" for clip, (_, name) in enumerate(subject))
    return FeatureSet(x, label, subject, keys, ("no", "yes"), "digest")


TRIAL = Trial(
    model=Model(attention="spatial-temporal", lstm_size=8, attention_size=4),
    train=Train(epochs=25, learning_rate=0.02, batch_size=8),
)


@pytest.mark.slow
def test_blocks_cover_every_clip_once_and_learn(features: FeatureSet) -> None:
    folds = make_folds(features.subject, features.label)
    blocks = {i: run_block(features, folds, i, trial=TRIAL) for i in range(len(folds.blocks))}
    assert sorted(key for block in blocks.values() for key in block.keys) == sorted(features.keys)
    maps = {"spatial", "temporal", "occluded_top", "occluded_random"}
    assert set(blocks[0].maps) == maps
    assert blocks[0].maps["spatial"].shape == (len(blocks[0].keys), 3, 4)
    probs = pooled(blocks, features.keys, 2)
    assert scores_of(probs, features.label)["uf1"] > 0.9


@pytest.mark.slow
def test_the_width_of_the_bank_does_not_matter(features: FeatureSet) -> None:
    folds = make_folds(features.subject, features.label, blocks=[6])
    wide = run_block(features, folds, 0, trial=TRIAL, width=6)
    narrow = run_block(features, folds, 0, trial=TRIAL, width=4)
    assert wide.keys == narrow.keys
    np.testing.assert_allclose(wide.probs, narrow.probs, atol=1e-5)


def test_seeds_are_averaged(features: FeatureSet) -> None:
    folds = make_folds(features.subject, features.label)
    once = []
    for seed in (3, 4):
        train = TRIAL.train.model_copy(update={"seed": seed, "epochs": 5})
        trial = TRIAL.model_copy(update={"train": train})
        once.append(run_block(features, folds, 0, trial=trial))
    trial = TRIAL.model_copy(update={"train": train.model_copy(update={"seed": 3})})
    both = run_block(features, folds, 0, trial=trial, seeds=2)
    assert (both.keys, both.seed) == (once[0].keys, 3)
    np.testing.assert_allclose(both.probs, (once[0].probs + once[1].probs) / 2, atol=1e-6)
    assert np.abs(once[0].probs - once[1].probs).max() > 1e-3
    for name in ("spatial", "temporal"):
        wanted = (once[0].maps[name].astype(float) + once[1].maps[name]) / 2
        np.testing.assert_allclose(both.maps[name], wanted, atol=1e-3)
        assert both.maps[name].dtype == np.float16


def test_clips_without_a_block_are_nan(features: FeatureSet) -> None:
    folds = make_folds(features.subject, features.label)
    first = run_block(features, folds, 0, trial=TRIAL)
    probs = pooled({0: first}, features.keys, 2)
    assert np.isnan(probs[:, 0]).sum() == len(features.keys) - len(first.keys)


def test_a_block_of_another_search_is_refused(features: FeatureSet) -> None:
    folds = make_folds(features.subject, features.label)
    first = run_block(features, folds, 0, trial=TRIAL)
    with pytest.raises(DamagedRecord, match="does not belong to this search"):
        pooled({0: first}, ("toy/sub0/0",), 2)
    with pytest.raises(DamagedRecord, match="does not belong to this search"):
        pooled({0: first}, features.keys, 3)


def test_regions_are_kept_only_for_spatial_attention() -> None:
    assert regions_of(Model(attention="spatial")) == "keep"
    assert regions_of(Model(attention="temporal", regions="flatten")) == "flatten"


def test_a_diverged_training_is_told_and_gives_no_block(features: FeatureSet) -> None:
    folds = make_folds(features.subject, features.label)
    trial = TRIAL.model_copy(update={"train": Train(epochs=30, learning_rate=1e30)})
    with pytest.raises(MerSearchError, match=r"training diverged: \d+ of \d+ held-out clips"):
        run_block(features, folds, 0, trial=trial)


@pytest.mark.slow
def test_without_its_only_telling_region_a_clip_is_not_recognised() -> None:
    rng = np.random.default_rng(0)
    label = np.arange(48) % 2
    x = rng.standard_normal((48, 2, 4, 5)).astype(np.float32)
    x[:, :, 2, 0] += 4.0 * label[:, None]
    x[:, :, 2, 1] += 4.0  # what attention can find it by
    subject = tuple(("toy", f"sub{clip // 8}") for clip in range(48))
    keys = tuple(f"toy/{name}/{clip}" for clip, (_, name) in enumerate(subject))
    one = FeatureSet(x, label, subject, keys, ("no", "yes"), "digest")
    train = Train(epochs=60, learning_rate=0.02, batch_size=8)
    trial = TRIAL.model_copy(update={"train": train})
    folds = make_folds(one.subject, one.label, blocks=[6])
    block = run_block(one, folds, 0, trial=trial)
    truth = np.array([label[keys.index(key)] for key in block.keys])
    whole, top, random = (
        (values.argmax(1) == truth).mean()
        for values in (block.probs, block.maps["occluded_top"], block.maps["occluded_random"])
    )
    assert whole > 0.9
    assert random > 0.85
    assert top < 0.75


def test_without_spatial_attention_nothing_is_occluded(features: FeatureSet) -> None:
    folds = make_folds(features.subject, features.label, blocks=[6])
    trial = TRIAL.model_copy(update={"model": Model(attention="temporal", lstm_size=8)})
    pooled_regions = FeatureSet(
        features.x.mean(2, keepdims=True), features.label, features.subject, features.keys,
        features.classes, "digest",
    )  # fmt: skip
    assert set(run_block(pooled_regions, folds, 0, trial=trial).maps) == {"temporal"}


def test_a_mirrored_version_is_scored_too_and_its_attention_mirrored_back(
    features: FeatureSet,
) -> None:
    """Attention to regions knows no sides: both views of exactly mirrored maps agree."""
    folds = make_folds(features.subject, features.label, blocks=[6])
    other_way = features.x.reshape(24, 3, 2, 2, 5)[:, :, :, ::-1].reshape(features.x.shape)
    more = replace(features, x=np.concatenate([features.x, other_way]))
    trial = TRIAL.model_copy(update={"train": Train(epochs=3, learning_rate=0.02, batch_size=8)})
    once = run_block(more, folds, 0, trial=trial)
    twice = run_block(replace(more, mirrored=True), folds, 0, trial=trial)
    np.testing.assert_allclose(twice.probs, once.probs, atol=1e-5)
    for name, seen in once.maps.items():
        # Without their region both views draw another one at random.
        if name != "occluded_random":
            np.testing.assert_allclose(twice.maps[name], seen, atol=2e-3)
    assert np.abs(mirrored(once.maps["spatial"]) - once.maps["spatial"]).max() > 0.01
    noise = replace(more, x=np.concatenate([features.x, other_way + 1]), mirrored=True)
    views = [run_block(replace(noise, mirrored=both), folds, 0, trial=trial).probs
             for both in (False, True)]  # fmt: skip
    assert np.abs(views[0] - views[1]).max() > 1e-3, "the mirrored version counts"


def test_attention_to_a_mirrored_face_is_mirrored_back() -> None:
    weights = np.arange(18, dtype=np.float16).reshape(1, 2, 9)
    expected = [2, 1, 0, 5, 4, 3, 8, 7, 6]
    assert mirrored(weights)[0, 0].tolist() == expected
    np.testing.assert_array_equal(mirrored(mirrored(weights)), weights)


@pytest.mark.slow
def test_further_versions_of_a_held_out_clip_change_no_bit_of_its_fold(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They train the other folds, and none of theirs when they are scored themselves."""
    folds = make_folds(features.subject, features.label, blocks=[6])
    noise = np.random.default_rng(1).standard_normal(features.x.shape).astype(np.float32)
    banks: list[dict[str, torch.Tensor]] = []

    def trained(*given: Any, **named: Any) -> Any:
        bank = train_bank(*given, **named)
        banks.append({name: value.clone() for name, value in bank.state_dict().items()})
        return bank

    monkeypatch.setattr(run, "train_bank", trained)
    held = folds.held_out[0]
    for seed in (0, 1):
        x, label = np.concatenate([features.x, features.x + noise]), features.label.copy()
        if seed:
            x[np.tile(held, 2)] *= -7
            label[held] = 1 - label[held]
        more = replace(features, x=x, label=label, mirrored=True)
        assert more.rows.tolist() == [*range(24), *range(24)]
        block = run_block(more, folds, 0, trial=TRIAL)
        assert sorted(block.keys) == sorted(features.keys)
    for name, value in banks[0].items():
        assert torch.equal(value[0], banks[1][name][0]), name
    assert not torch.equal(banks[0]["class_w"][1], banks[1]["class_w"][1])
    run_block(features, folds, 0, trial=TRIAL)
    assert not torch.equal(banks[0]["class_w"][0], banks[2]["class_w"][0]), "versions teach"


def test_a_bank_that_does_not_fit_is_halved_and_the_block_goes_on(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = make_folds(features.subject, features.label, blocks=[6])
    trial = TRIAL.model_copy(update={"train": Train(epochs=2, batch_size=8)})
    whole = run_block(features, folds, 0, trial=trial, width=4)
    real, asked = run.train_bank, []

    def small(x: object, label: object, held_out: NDArray[np.bool_], **more: object) -> object:
        asked.append(len(held_out))
        if len(held_out) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(x, label, held_out, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "train_bank", small)
    said: list[str] = []
    block = run_block(features, folds, 0, trial=trial, width=4, says=said.append)
    assert asked == [4, 2, *[1] * 6]
    assert said == [
        "memory ran out on cpu; went on with 2 folds at once",
        "memory ran out on cpu; went on with 1 folds at once",
    ]
    assert block.keys == whole.keys
    np.testing.assert_allclose(block.probs, whole.probs, atol=1e-5)


@pytest.mark.parametrize(
    "fault", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes")]
)
def test_one_fold_that_does_not_fit_is_told_with_the_cure(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def full(*_: object, **__: object) -> object:
        raise fault

    monkeypatch.setattr(run, "train_bank", full)
    folds = make_folds(features.subject, features.label)
    with pytest.raises(MerSearchError, match="memory ran out on cpu with one fold; lower train"):
        run_block(features, folds, 0, trial=TRIAL, width=2)


def test_another_fault_of_torch_is_no_lack_of_memory(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(run, "train_bank", broken)
    folds = make_folds(features.subject, features.label)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run_block(features, folds, 0, trial=TRIAL, width=2)
