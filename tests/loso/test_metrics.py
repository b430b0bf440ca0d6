"""Pooled scores: published counts, scikit-learn as reference, absent classes, leading axes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from mer_search.errors import MerSearchError
from mer_search.loso.metrics import (
    OBJECTIVES,
    TALLIES,
    accuracy,
    chance_uf1,
    confusion,
    scores,
    uar,
    uf1,
)

PUBLISHED = [  # MEGC2019 composite and its parts: counts, UF1, UAR
    ([[219, 22, 9], [40, 62, 7], [21, 3, 59]], 0.7353, 0.7186),
    ([[83, 5, 0], [12, 19, 1], [2, 0, 23]], 0.8382, 0.8190),
    ([[82, 7, 3], [11, 13, 2], [5, 2, 8]], 0.6588, 0.6415),
    ([[54, 10, 6], [17, 30, 4], [14, 1, 28]], 0.6801, 0.6703),
]
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@pytest.mark.parametrize(("counts", "f1", "recall"), PUBLISHED)
def test_known_answers(counts, f1, recall):
    assert uf1(counts) == pytest.approx(f1, abs=5e-5)
    assert uar(counts) == pytest.approx(recall, abs=5e-5)


def test_published_parts_sum_to_the_composite():
    composite, *parts = (np.array(counts) for counts, *_ in PUBLISHED)
    np.testing.assert_array_equal(sum(parts), composite)


@pytest.mark.parametrize(
    ("clips", "acc", "f1"),
    [([250, 109, 83], 0.5656, 0.2408), ([99, 63, 32, 27, 25], 0.4024, 0.1148)],
)
def test_majority_class(clips, acc, f1):
    label = np.repeat(np.arange(len(clips)), clips)
    counts = confusion(label, np.zeros_like(label), len(clips))
    assert accuracy(counts) == pytest.approx(acc, abs=5e-5)
    assert uf1(counts) == pytest.approx(f1, abs=5e-5)


@given(pairs=PAIRS)
def test_agrees_with_scikit_learn(pairs):
    truth, predicted = np.array(pairs).T
    counts = confusion(truth, predicted, 5)
    labels = range(5)
    np.testing.assert_array_equal(counts, confusion_matrix(truth, predicted, labels=labels))
    reference = f1_score(truth, predicted, labels=labels, average="macro", zero_division=0)
    assert uf1(counts) == pytest.approx(reference)
    assert accuracy(counts) == pytest.approx(accuracy_score(truth, predicted))


@given(pairs=PAIRS)
def test_tallies_are_the_objectives(pairs):
    truth, predicted = np.array(pairs).T
    counts = confusion(truth, predicted, 5)
    tally = (np.diag(counts), counts.sum(0), counts.sum(1))
    assert TALLIES.keys() == OBJECTIVES.keys()
    for name, score in OBJECTIVES.items():
        assert TALLIES[name](*tally) == score(counts)


def test_an_absent_class_counts_zero():
    truth = np.array([0, 0, 1, 1])
    two, three = (confusion(truth, truth, classes) for classes in (2, 3))
    assert uf1(two) == uar(two) == 1.0
    assert uf1(three) == pytest.approx(2 / 3)
    assert uar(three) == pytest.approx(2 / 3)


def test_no_clips_score_zero():
    assert [float(score(np.zeros((3, 3)))) for score in OBJECTIVES.values()] == [0.0] * 3


def test_leading_axes():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, 40), rng.integers(0, 3, (2, 5, 40))
    counts = confusion(truth, predicted, 3)
    assert counts.shape == (2, 5, 3, 3)
    for score in OBJECTIVES.values():
        each = [[score(confusion(truth, row, 3)) for row in rows] for rows in predicted]
        np.testing.assert_allclose(score(counts), each)


def test_pooled_is_not_the_mean_over_folds():
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    folds = [confusion(truth[half], predicted[half], 2) for half in (slice(0, 2), slice(2, 4))]
    assert uf1(sum(folds)) != pytest.approx(np.mean([uf1(fold) for fold in folds]))


def test_scores_of_probabilities():
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    assert scores(probs, np.array([0, 1, 1, 1])) == {
        "uf1": pytest.approx((2 / 3 + 4 / 5) / 2),
        "uar": pytest.approx((1 + 2 / 3) / 2),
        "accuracy": pytest.approx(3 / 4),
    }


def test_nan_is_refused():
    with pytest.raises(MerSearchError, match="1 of 2 clips have probabilities that are not num"):
        scores(np.array([[0.5, 0.5], [np.nan, 1.0]]), np.array([0, 1]))


def test_chance_is_what_shuffled_labels_give():
    rng = np.random.default_rng(1)
    label, predicted = (
        rng.choice(3, 3000, p=[0.6, 0.3, 0.1]),
        rng.choice(3, 3000, p=[0.4, 0.4, 0.2]),
    )
    shuffled = [uf1(confusion(rng.permutation(label), predicted, 3)) for _ in range(50)]
    shares = [np.bincount(each) / 3000 for each in (label, predicted)]
    assert chance_uf1(*shares) == pytest.approx(np.mean(shuffled), abs=0.003)


def test_chance_of_equal_shares_is_one_over_the_classes():
    assert chance_uf1([0.2] * 5, [0.2] * 5) == pytest.approx(0.2)
    assert chance_uf1([1.0, 0.0], [1.0, 0.0]) == pytest.approx(0.5)
