"""Folds: every clip held out once, subjects whole, order by data and seed, faults told."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_search.errors import DamagedRecord, InputError
from mer_search.loso.folds import Folds, auto_blocks, everything, make_folds

CLIPS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 12), st.integers(0, 4)),
    min_size=2,
    max_size=80,
).filter(lambda clips: len({clip[:2] for clip in clips}) >= 2)


def split(clips):
    return [(d, f"s{s:02d}") for d, s, _ in clips], np.array([c for *_, c in clips])


def composite(seed=0, subjects=68, clips=442):
    """MEGC2019's sizes: 68 unequal subjects, classes .57/.25/.19."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(subjects, 1.2))
    who = np.concatenate([np.arange(subjects), rng.choice(subjects, clips - subjects, p=share)])
    label = rng.choice(3, clips, p=[0.57, 0.25, 0.18])
    return [("megc", f"s{s:02d}") for s in who], label


@given(clips=CLIPS, seed=st.integers(0, 5), groups=st.sampled_from(["loso", "group-2"]))
def test_each_clip_is_held_out_once_and_no_subject_is_split(clips, seed, groups):
    subject, label = split(clips)
    folds = make_folds(subject, label, protocol=groups, seed=seed)
    assert (folds.held_out.sum(0) == 1).all()
    assert folds.held_out.any(1).all()
    for mask, names in zip(folds.held_out, folds.subjects, strict=True):
        assert {subject[n] for n in np.flatnonzero(mask)} == set(names)
    assert sum(len(names) for names in folds.subjects) == len(set(subject))


@given(clips=CLIPS, seed=st.integers(0, 5), order=st.randoms())
def test_order_depends_on_data_and_seed_not_on_the_order_of_clips(clips, seed, order):
    shuffled = list(clips)
    order.shuffle(shuffled)
    first, second = (make_folds(*split(each), seed=seed) for each in (clips, shuffled))
    assert first.subjects == second.subjects


@given(clips=CLIPS, protocol=st.sampled_from(["loso", "group-2"]))
def test_json_round_trip(clips, protocol):
    subject, label = split(clips)
    folds = make_folds(subject, label, protocol=protocol)
    record = json.loads(json.dumps(folds.to_json()))
    assert record["format"] == 1
    again = Folds.from_json(record, subject)
    assert (again.subjects, again.blocks) == (folds.subjects, folds.blocks)
    np.testing.assert_array_equal(again.held_out, folds.held_out)


def test_seed_changes_the_order():
    subject, label = composite()
    assert (
        make_folds(subject, label, seed=1).subjects != make_folds(subject, label, seed=2).subjects
    )


def test_large_subjects_come_first():
    subject, label = composite()
    sizes = make_folds(subject, label).held_out.sum(1)
    assert sizes[:4].mean() > 2 * sizes.mean()
    largest = np.sort(sizes)[::-1].cumsum()
    assert (sizes.cumsum()[3:] > 0.8 * largest[3:]).all()


def test_prefixes_balance_the_classes_better_than_size_order_does():
    subject, label = composite()
    held = make_folds(subject, label).held_out.astype(int)
    counts = held @ np.eye(3, dtype=int)[label]
    by_size = counts[np.argsort(-counts.sum(1), kind="stable")]

    def worst(rows):
        covered = rows.cumsum(0)[3:-1] / rows.sum(0)
        return (covered.max(1) - covered.min(1)).mean()

    assert worst(counts) < 0.6 * worst(by_size)


@pytest.mark.parametrize(
    ("folds", "sizes"),
    [
        (68, (3, 5, 8, 16, 36)),
        (26, (3, 5, 8, 10)),
        (24, (3, 5, 8, 8)),
        (8, (2, 2, 4)),
        (5, (1, 1, 3)),
        (2, (1, 1)),
        (1, (1,)),
    ],
)
def test_auto_blocks(folds, sizes):
    assert auto_blocks(folds) == sizes


@given(folds=st.integers(1, 400))
def test_auto_blocks_cover_all_folds(folds):
    sizes = auto_blocks(folds)
    assert sum(sizes) == folds
    assert all(size >= 1 for size in sizes)


def test_given_blocks():
    subject, label = composite(subjects=6, clips=30)
    assert make_folds(subject, label, blocks=(2, 4)).blocks == ((0, 2), (2, 6))


@pytest.mark.parametrize("blocks", [(2, 3), (6, 0), (7,), ()])
def test_blocks_that_do_not_sum_to_the_folds_are_refused(blocks):
    subject, label = composite(subjects=6, clips=30)
    with pytest.raises(InputError, match=r"sum to 6 folds, not to \d+; write auto, or sizes such"):
        make_folds(subject, label, blocks=blocks)


def test_groups_are_alike_in_size_and_class():
    subject, label = composite()
    folds = make_folds(subject, label, protocol="group-5")
    counts = folds.held_out.astype(int) @ np.eye(3, dtype=int)[label]
    assert len(folds) == 5
    assert (np.abs(counts / counts.sum(0) - 0.2) < 0.08).all()


def test_groups_of_the_same_number_as_subjects_are_loso():
    subject, label = composite(subjects=6, clips=30)
    grouped = make_folds(subject, label, protocol="group-6")
    assert grouped.subjects == make_folds(subject, label).subjects


def test_everything_holds_nothing_out():
    folds = everything(7)
    assert folds.held_out.shape == (1, 7)
    assert not folds.held_out.any()
    again = Folds.from_json(folds.to_json(), [("a", "s1")] * 7)
    np.testing.assert_array_equal(again.held_out, folds.held_out)


def test_held_out_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        everything(3).held_out[0, 0] = True


def test_one_subject_is_refused():
    with pytest.raises(InputError, match="1 subject, but loso needs 2 or more; add clips"):
        make_folds([("a", "s1")] * 3, np.array([0, 1, 0]))


def test_lengths_that_differ_are_refused():
    with pytest.raises(InputError, match="2 subjects but 3 labels"):
        make_folds([("a", "s1"), ("a", "s2")], np.array([0, 1, 0]))


@pytest.mark.parametrize("protocol", ["group-1", "group-", "kfold", "group-05"])
def test_unknown_protocol_is_refused(protocol):
    with pytest.raises(InputError, match="must be loso, lodo or group-K with K >= 2"):
        make_folds([("a", "s1"), ("a", "s2")], np.array([0, 1]), protocol=protocol)


def test_more_groups_than_subjects_are_refused():
    with pytest.raises(InputError, match="group-5 needs 5 subjects and there are 2; use loso"):
        make_folds([("a", "s1"), ("a", "s2")], np.array([0, 1]), protocol="group-5")


def record(**changes):
    return {"format": 1, "subjects": [[["a", "s1"]], [["a", "s2"]]], "blocks": [[0, 2]], **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2 is not 1"),
        ({"format": None}, "format None is not 1"),
        ({"blocks": None}, "subjects or blocks are unreadable"),
        ({"subjects": [["a"]]}, "subjects or blocks are unreadable"),
        ({"blocks": [[0, 1]]}, "do not cover 2 folds in order"),
        ({"blocks": [[1, 2], [0, 1]]}, "do not cover 2 folds in order"),
    ],
)
def test_damaged_records_are_named(changes, message):
    with pytest.raises(DamagedRecord, match=message):
        Folds.from_json(record(**changes), [("a", "s1"), ("a", "s2")])


def test_folds_of_other_subjects_are_refused():
    with pytest.raises(InputError, match=r"differ in 2 subjects \(a/s2, a/s3\); use the data"):
        Folds.from_json(record(), [("a", "s1"), ("a", "s3")])


def test_lodo_holds_out_one_data_set_at_a_time_and_splits_no_subject():
    subject = [(d, f"s{s}") for d in ("casme2", "samm", "smic") for s in range(3) for _ in range(2)]
    label = np.arange(len(subject)) % 2
    folds = make_folds(subject, label, protocol="lodo")
    assert len(folds) == 3
    assert (folds.held_out.sum(0) == 1).all()
    for names in folds.subjects:
        assert len({dataset for dataset, _ in names}) == 1
        assert len(names) == 3
    again = Folds.from_json(json.loads(json.dumps(folds.to_json())), subject)
    np.testing.assert_array_equal(again.held_out, folds.held_out)


def test_lodo_of_one_data_set_is_refused():
    with pytest.raises(InputError, match="all clips are of a; use loso, or a reader of several"):
        make_folds([("a", "s1"), ("a", "s2")], np.array([0, 1]), protocol="lodo")
