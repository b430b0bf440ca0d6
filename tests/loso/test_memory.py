"""A trial is planned with the memory there is, before it starts, and cut where it must be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mer_search.config import Model, Train, Trial
from mer_search.errors import InputError
from mer_search.features.records import FeatureSet
from mer_search.loso import memory
from mer_search.loso.memory import free_bytes, plan

GB = 2**30
TRIAL = Trial(model=Model(attention="none"), train=Train(clip_norm=1.0))


@pytest.fixture
def features() -> FeatureSet:
    """The shape of VGG-Face's fc6 over CASME II; no number is looked at."""
    x = np.broadcast_to(np.float32(0), (246, 8, 1, 4096))
    classes = ("a", "b", "c", "d", "e")
    return FeatureSet(x, np.zeros(246, np.int64), (), (), classes, "digest")


def free(monkeypatch: pytest.MonkeyPatch, gb: float) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(gb * GB))


def test_memory_that_files_occupy_counts_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "meminfo"
    told.write_text("MemTotal:  24000000 kB\nMemFree:  90000 kB\nMemAvailable:  8000000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", told)
    assert free_bytes("cpu") == 8_000_000 * 1024
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "nowhere")
    assert free_bytes("cpu") > 0


def test_the_bank_takes_half_of_what_is_free(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 64)
    whole = plan(features, 26, TRIAL)
    assert (whole.width, whole.folds, whole.given) == (26, 26, 32 * GB)
    free(monkeypatch, 1.2)
    cut = plan(features, 26, TRIAL)
    assert 1 <= cut.width < 26
    assert cut.needs <= cut.given == int(0.6 * GB)
    assert cut.told == f"{cut.width} folds at once of 26, for lack of memory: " + (
        f"{cut.needs / 2**20:.1f} MB of 614.4 MB"
    )
    assert whole.told == f"26 folds at once: {whole.needs / 2**20:.1f} MB of 32.0 GB"
    assert cut.as_record() == {"width": cut.width, "wanted": 26, "folds": 26,
                               "needs": cut.needs, "given": cut.given}  # fmt: skip


def test_trials_that_begin_together_do_not_plan_with_the_same_memory(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 8)
    plans = [plan(features, 26, TRIAL, among=8) for _ in range(8)]
    assert sum(each.needs for each in plans) <= 8 * GB
    assert plans[0].given == int(0.8 * GB)
    free(monkeypatch, 4)  # four of them have taken their part
    assert plan(features, 26, TRIAL, among=8, before=8 * GB).given == int(0.8 * GB)
    free(monkeypatch, 1.2)  # and somebody else the rest
    assert plan(features, 26, TRIAL, among=8, before=8 * GB).given == int(0.6 * GB)


def test_one_fold_is_tried_as_long_as_half_of_the_memory_carries_it(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 1.2)
    crowded = plan(features, 26, TRIAL, among=64)
    assert crowded.width == 1
    assert crowded.given == crowded.needs
    free(monkeypatch, 0.1)
    with pytest.raises(
        InputError, match=r"memory: one fold needs 0\.09 GB and 0\.05 GB are free; ch"
    ):
        plan(features, 26, TRIAL)


def test_a_stacked_model_takes_few_folds_at_once_since_more_are_slower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free(monkeypatch, 64)
    trial = Trial(model=Model(name="ststnet"), train=Train(batch_size=64))
    for regions, wanted in ((784, range(1, 2)), (49, range(2, 68))):
        x = np.broadcast_to(np.float32(0), (442, 1, regions, 3))
        maps = FeatureSet(x, np.zeros(442, np.int64), (), (), ("a", "b", "c"), "digest")
        found = plan(maps, 68, trial)
        assert found.width in wanted
        assert "for lack of memory" not in found.told
