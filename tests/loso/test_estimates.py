"""Estimates: known truth, exact small cases, determinism, speed, words, faults."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_search.errors import InputError
from mer_search.loso.estimates import (
    Difference,
    compare_searches,
    compare_trials,
    correct,
    holm,
    jackknife_mean,
    own_score,
)
from mer_search.loso.metrics import (
    TALLIES,
    SubjectCounts,
    chance_uf1,
    confusion,
    count_by_subject,
    uf1,
)

SIMULATOR = Path(__file__).parents[2] / "benchmarks" / "estimates.py"


@pytest.fixture(scope="module")
def simulator():
    spec = importlib.util.spec_from_file_location("benchmark_estimates", SIMULATOR)
    module = sys.modules["benchmark_estimates"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def clips(seed=0, trials=30, subjects=12, classes=3, n=90, right=0.5):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, n)
    subject = np.concatenate([np.arange(subjects), rng.integers(0, subjects, n - subjects)])
    wild = rng.integers(0, classes, (trials, n))
    return np.where(rng.random((trials, n)) < right, label, wild), label, subject


def counted(*args, classes=3, **changes):
    return count_by_subject(*clips(*args, classes=classes, **changes), classes=classes)


def without(predicted, label, subject, left_out):
    kept = subject != left_out
    return predicted[..., kept], label[kept], subject[kept]


def test_counts_by_subject_are_the_confusions():
    predicted, label, subject = clips()
    counts = count_by_subject(predicted, label, subject, classes=3)
    for s in range(counts.subjects):
        own = subject == s
        table = confusion(label[own], predicted[:, own], 3)
        np.testing.assert_array_equal(counts.hits[:, s], np.diagonal(table, axis1=1, axis2=2))
        np.testing.assert_array_equal(counts.predicted[:, s], table.sum(1))
        np.testing.assert_array_equal(counts.true[s], table[0].sum(1))


def test_the_selected_trial_is_the_best_by_the_objective():
    predicted, label, subject = clips()
    for objective, score in TALLIES.items():
        found = correct(count_by_subject(predicted, label, subject, classes=3), objective=objective)
        table = confusion(label, predicted, 3)
        tally = np.diagonal(table, axis1=1, axis2=2), table.sum(1), table.sum(2)
        assert found.trial == score(*tally).argmax()
        assert found.selected[objective] == pytest.approx(score(*tally).max())
        assert found.corrected[objective] < found.selected[objective]


def test_one_trial_needs_no_correction():
    found = correct(counted(trials=1))
    assert found.corrected == pytest.approx(found.selected)
    assert found.left_out == pytest.approx(found.selected)
    assert found.interval == pytest.approx(found.selected_interval)


def test_interval_is_the_point_and_the_jackknife_error_of_the_winner():
    predicted, label, subject = clips()
    found = correct(count_by_subject(predicted, label, subject, classes=3))
    winner = predicted[found.trial]
    left = []
    for s in range(12):
        rest, truth, _ = without(winner, label, subject, s)
        left.append(uf1(confusion(truth, rest, 3)))
    error = np.sqrt(11 / 12 * ((left - np.mean(left)) ** 2).sum())
    reach = 2.200985 * error  # t(.975, 11)
    assert found.interval == pytest.approx(
        (found.corrected["uf1"] - reach, found.corrected["uf1"] + reach), rel=1e-6
    )
    own = own_score(count_by_subject(predicted, label, subject, classes=3), found.trial)
    assert own.interval == pytest.approx(found.selected_interval)


def test_left_out_view_is_the_plain_loop():
    predicted, label, subject = clips(seed=3)
    glued = np.empty_like(label)
    for s in range(12):
        rest, truth, _ = without(predicted, label, subject, s)
        best = uf1(confusion(truth, rest, 3)).argmax()
        glued[subject == s] = predicted[best, subject == s]
    found = correct(count_by_subject(predicted, label, subject, classes=3))
    assert found.left_out["uf1"] == pytest.approx(float(uf1(confusion(label, glued, 3))))


def test_corrected_point_is_the_plain_loop():
    predicted, label, subject = clips(seed=4, trials=6)
    rng, table, outs = np.random.default_rng(9), np.zeros((12, 3, 3)), np.zeros(12)
    for drawn in rng.multinomial(12, np.full(12, 1 / 12), 200):
        kept = np.concatenate(
            [np.flatnonzero(subject == s) for s in np.repeat(np.arange(12), drawn)]
        )
        best = uf1(confusion(label[kept], predicted[:, kept], 3)).argmax()
        for s in np.flatnonzero(drawn == 0):
            own = subject == s
            table[s] += confusion(label[own], predicted[best, own], 3)
            outs[s] += 1
    found = correct(count_by_subject(predicted, label, subject, classes=3), resamples=200, seed=9)
    assert found.corrected["uf1"] == pytest.approx(float(uf1((table / outs[:, None, None]).sum(0))))


def test_same_seed_same_numbers_and_chunks_do_not_matter(monkeypatch):
    counts = counted()
    first = correct(counts, seed=5)
    monkeypatch.setattr("mer_search.loso.estimates.CHUNK", 1)
    assert correct(counts, seed=5) == first
    assert correct(counts, seed=6).corrected != first.corrected


def test_intervals_stay_within_zero_and_one():
    found = correct(counted(right=0.97))
    assert found.interval[1] <= 1.0
    assert correct(counted(right=0.0)).interval[0] >= 0.0


def test_method_and_caveats_say_what_was_done():
    found = correct(counted(trials=7), trials=20, resamples=150)
    assert "BBC pooled: 150 resamples of 12 subjects, the best of 7 trials by uf1" in found.method
    assert "95% interval: point +- t(11)" in found.method
    assert "the 7 finished of 20 trials" in found.caveats[0]
    assert len(found.caveats) == 1


def test_a_class_of_one_subject_is_a_caveat():
    predicted, label, subject = clips()
    label = np.where(subject == 4, 2, label % 2)
    counts = count_by_subject(predicted, label, subject, classes=4)
    assert "class index 2, 3 occurs in fewer than 2 subjects" in correct(counts).caveats[1]


@given(seed=st.integers(0, 50), trials=st.integers(1, 8), subjects=st.integers(2, 6))
def test_any_search_gets_finite_numbers(seed, trials, subjects):
    counts = counted(seed, trials=trials, subjects=subjects, n=20)
    found = correct(counts, resamples=100)
    values = [*found.selected.values(), *found.corrected.values(), *found.left_out.values()]
    assert np.isfinite([*values, *found.interval, *found.selected_interval]).all()
    assert found.interval[0] <= found.corrected["uf1"] <= found.interval[1]


def test_trials_of_the_same_predictions_do_not_differ():
    predicted, label, subject = clips()
    counts = count_by_subject(predicted[[0, 0]], label, subject, classes=3)
    found = compare_trials(counts, 0, 1)
    assert (found.value, found.interval, found.p) == (0.0, (0.0, 0.0), 1.0)


def test_comparison_of_trials_is_antisymmetric_and_sees_a_large_difference():
    good, label, subject = clips(right=0.9, trials=1)
    poor, *_ = clips(right=0.1, trials=1)
    counts = count_by_subject(np.concatenate([good, poor]), label, subject, classes=3)
    found, back = compare_trials(counts, 0, 1), compare_trials(counts, 1, 0)
    assert found.value == pytest.approx(-back.value)
    assert found.p == pytest.approx(back.p)
    assert found.interval[0] > 0.2
    assert found.p < 0.001


def test_searches_of_the_same_trials_do_not_differ():
    counts = counted()
    found = compare_searches(counts, counts)
    assert (found.value, found.p) == (0.0, 1.0)


def test_searches_on_other_clips_are_refused():
    with pytest.raises(InputError, match="other clips or classes; compare on the same data"):
        compare_searches(counted(0), counted(1))


def test_a_mean_over_equal_subjects_has_the_usual_t_interval():
    values = np.repeat([0.1, 0.4, 0.2, 0.5], 3)
    found = jackknife_mean(values, np.repeat(np.arange(4), 3))
    error = np.std([0.1, 0.4, 0.2, 0.5], ddof=1) / 2
    assert found.value == pytest.approx(0.3)
    assert found.interval == pytest.approx(
        (0.3 - 3.182446 * error, 0.3 + 3.182446 * error), abs=1e-6
    )


def test_holm_is_the_published_procedure():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_never_lowers_and_keeps_the_order(p):
    raised = holm(p)
    assert (raised >= np.array(p) - 1e-12).all()
    assert (np.diff(raised[np.argsort(p, kind="stable")]) >= 0).all()
    assert (raised <= 1.0).all()


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (
            Difference(0.012, (-0.031, 0.055), 0.95, 0.58),
            "no evidence of a difference: +.012 [-.031, .055]",
        ),
        (Difference(0.05, (0.01, 0.09), 0.95, 0.02), "A is better than B: +.050 [.010, .090]"),
        (Difference(-0.05, (-0.09, -0.01), 0.95, 0.02), "B is better than A: +.050 [.010, .090]"),
    ],
)
def test_words_to_quote(difference, words):
    assert difference.words() == words
    assert difference.words(p=0.06).startswith("no evidence")


def test_few_resamples_are_refused():
    with pytest.raises(InputError, match="resamples 99 must be 100 or more; 1000 is usual"):
        correct(counted(), resamples=99)


def test_one_subject_or_no_trial_is_refused():
    predicted, label, subject = clips()
    with pytest.raises(InputError, match="30 finished trials on 1 subjects; an estimate needs"):
        count_by_subject(predicted, label, np.zeros_like(subject), classes=3)
    with pytest.raises(InputError, match="0 finished trials on 12 subjects"):
        count_by_subject(predicted[:0], label, subject, classes=3)


def test_shapes_that_do_not_fit_are_refused():
    predicted, label, subject = clips()
    with pytest.raises(InputError, match=r"predictions \(30, 89\), labels \(90,\).*do not fit"):
        count_by_subject(predicted[:, 1:], label, subject, classes=3)


def test_permuted_labels_stay_at_chance(simulator):
    world = simulator.World(24, 3, 150, 1.2, 0.2)
    rng, excess, optimism = np.random.default_rng(0), [], []
    for seed in range(60):
        people = simulator.draw_sample(world, rng)
        label, subject = people.label, people.subject
        worths = world.worth + world.spread * rng.standard_normal(30)
        predicted = simulator.draw_predictions(world, worths, people, rng)
        shuffled = rng.permutation(label)  # over clips: within subjects some would keep theirs
        found = correct(
            count_by_subject(predicted, shuffled, subject, classes=3), resamples=100, seed=seed
        )
        shares = [np.bincount(each, minlength=3) / 150 for each in (label, predicted[found.trial])]
        excess.append(found.corrected["uf1"] - chance_uf1(*shares))
        optimism.append(found.selected["uf1"] - chance_uf1(*shares))
    assert abs(np.mean(excess)) < 0.015
    assert np.mean(optimism) > 0.03


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("world", "trials"),
    [
        ("68 subjects, 3 classes", 50),
        ("68 subjects, 3 classes", 500),
        ("24 subjects, 5 classes", 50),
        ("24 subjects, 5 classes", 500),
        ("68 subjects, 3 classes, null", 500),
        ("24 subjects, 5 classes, null", 500),
    ],
)
def test_known_truth(simulator, world, trials):
    """Bias within .015 and coverage of .92, widened by the error of 500 simulated searches."""
    row = simulator.measure(simulator.WORLDS[world], trials, 500)
    assert abs(row["corrected"]) < 0.015 + 0.004
    assert row["covered"] > 0.92 - 0.03
    assert row["covered"] <= 0.99 or "null" in world, "an interval that is wide enough for anything"
    assert row["selected"] > abs(row["corrected"]) + 0.015
    assert row["selected_covered"] < row["covered"]


def split(counts: SubjectCounts, trials) -> SubjectCounts:
    return SubjectCounts(counts.hits[trials], counts.predicted[trials], counts.true)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_larger_search_of_equal_worth_is_not_favoured(simulator):
    """200 trials against 10; comparing the winners' own scores would favour the 200."""
    world = simulator.WORLDS["68 subjects, 3 classes, null"]
    rng, told, naive = np.random.default_rng(0), [], []
    for seed in range(500):
        people = simulator.draw_sample(world, rng)
        label, subject = people.label, people.subject
        predicted = simulator.draw_predictions(world, np.zeros(210), people, rng)
        counts = count_by_subject(predicted, label, subject, classes=3)
        large, small = split(counts, slice(0, 200)), split(counts, slice(200, 210))
        told.append(compare_searches(large, small, resamples=200, seed=seed).p < 0.05)
        own = uf1(confusion(label, predicted, 3))
        winners = int(own[:200].argmax()), 200 + int(own[200:].argmax())
        naive.append(compare_trials(counts, *winners).p < 0.05)
    assert np.mean(told) < 0.05 + 0.02
    assert np.mean(naive) > np.mean(told)
