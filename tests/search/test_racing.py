"""One contract suite over every racing rule, then what each rule promises by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_search.errors import InputError, MerSearchError
from mer_search.loso.metrics import confusion, uf1
from mer_search.search.racing import (
    RULES,
    Race,
    count_by_fold,
    decide,
    most_promising,
    prefix_score,
)

F, C = 24, 3
STOPPING = sorted(RULES.keys() - {"none"})


def folds(seed=0, right=0.6, people=0):
    """Counts by fold [F, C, C] of a trial that is right on this share of clips."""
    who, rng = np.random.default_rng(people), np.random.default_rng(seed)
    out = []
    for size in np.sort(who.integers(2, 25, F))[::-1]:
        label = who.integers(0, C, size)
        guess = np.where(rng.random(size) < right, label, (label + 1) % C)
        out.append(confusion(label, guess, C))
    return np.stack(out)


def race(done, incumbent=None, **changes):
    incumbent = folds(99, 0.7) if incumbent is None else incumbent
    others = [prefix_score(folds(seed, 0.65), done) for seed in range(20)]
    return Race(incumbent, **{"others": others, **changes})


@pytest.mark.parametrize("rule", RULES)
class TestContract:
    @pytest.mark.parametrize("done", [1, 4, 8, 16, 23])
    @pytest.mark.parametrize("right", [0.2, 0.65, 0.9])
    def test_a_decision_is_complete_and_repeatable(self, rule, done, right):
        trial, seen = folds(1, right)[:done], race(done)
        before = trial.copy(), seen.incumbent.copy()
        found = decide(rule, trial, seen)
        assert isinstance(found.stop, bool)
        assert found.chance is None or 0.0 <= found.chance <= 1.0
        assert found.forecast is None or 0.0 <= found.forecast <= 1.0
        assert found.reason
        assert decide(rule, trial, seen) == found
        np.testing.assert_array_equal(trial, before[0])
        np.testing.assert_array_equal(seen.incumbent, before[1])

    def test_the_first_trial_runs_all_folds(self, rule):
        for done in (4, 8, 16, F):
            assert not decide(rule, folds(1, 0.1)[:done], Race()).stop

    def test_a_complete_trial_is_never_stopped(self, rule):
        assert not decide(rule, folds(1, 0.0), race(F)).stop

    @pytest.mark.parametrize("done", [4, 8, 16, 23])
    def test_a_perfect_trial_is_never_stopped(self, rule, done):
        assert not decide(rule, folds(1, 1.0)[:done], race(done)).stop

    @pytest.mark.parametrize("done", [4, 8, 16, 23])
    def test_a_trial_equal_to_the_incumbent_goes_on(self, rule, done):
        assert not decide(rule, folds(99, 0.7)[:done], race(done, others=())).stop

    def test_a_hopeless_trial_is_stopped(self, rule):
        assert decide(rule, folds(1, 0.1)[:8], race(8)).stop == (rule != "none")

    def test_a_repeated_report_is_not_judged_again(self, rule):
        found = decide(rule, folds(1, 0.1)[:8], race(8), decided=8)
        assert not found.stop
        assert "judged before" in found.reason
        assert decide(rule, folds(1, 0.1)[:8], race(8), decided=4) == decide(
            rule, folds(1, 0.1)[:8], race(8)
        )

    @pytest.mark.parametrize("objective", ["uf1", "uar", "accuracy"])
    def test_any_objective(self, rule, objective):
        seen = race(8, objective=objective)
        assert not decide(rule, folds(1, 1.0)[:8], seen).stop
        assert decide(rule, folds(1, 0.1)[:8], seen).stop == (rule != "none")

    def test_folds_of_one_class_and_absent_classes(self, rule):
        incumbent = np.zeros((F, C, C), int)
        incumbent[:, 0, 0], incumbent[20:, 1, 0] = 3, 1
        found = decide(rule, incumbent[:4], race(4, incumbent, others=()))
        assert not found.stop  # it is the incumbent's equal
        assert found.chance is None or 0.0 <= found.chance <= 1.0

    def test_folds_of_other_clips_are_refused(self, rule):
        for trial in (folds(1, people=5)[:8], np.concatenate([folds(1), folds(1)])):
            with pytest.raises(MerSearchError, match="must share one fold order"):
                decide(rule, trial, race(8))


@pytest.mark.slow
@given(seed=st.integers(0, 30), done=st.integers(1, F - 1), right=st.floats(0, 1))
def test_chance_is_what_the_known_rest_allows(seed, done, right):
    found = decide("predictive", folds(seed, right)[:done], race(done))
    assert found.stop == (found.chance < 0.1)
    assert f"after {done} of {F} folds" in found.reason


def test_chance_grows_with_the_trial():
    chances = [decide("predictive", folds(1, right)[:8], race(8)).chance
               for right in (0.3, 0.6, 0.7, 0.8, 0.95)]  # fmt: skip
    assert chances == sorted(chances)
    assert chances[0] < 0.01
    assert chances[-1] > 0.9


def test_chance_of_an_equal_trial_is_a_half():
    assert decide("predictive", folds(99, 0.7)[:8], race(8)).chance == 0.5


@pytest.mark.slow
def test_chance_is_calibrated_where_trial_and_incumbent_are_alike():
    """Over exchangeable pairs, a chance of q comes true q of the time, within .12."""
    chances, came = [], []
    for seed in range(300):
        incumbent, trial = folds(seed, 0.6, seed), folds(seed + 5000, 0.6, seed)
        chances.append(decide("predictive", trial[:12], race(12, incumbent)).chance)
        came.append(uf1(trial.sum(0)) > uf1(incumbent.sum(0)))
    chances, came = np.array(chances), np.array(came)
    for low, high in ((0.0, 0.25), (0.25, 0.75), (0.75, 1.0)):
        inside = (chances >= low) & (chances <= high)
        assert abs(came[inside].mean() - chances[inside].mean()) < 0.12


@pytest.mark.slow
def test_forecast_is_near_the_final_score():
    errors = []
    for seed in range(60):
        trial = folds(seed, 0.5)
        found = decide("predictive", trial[:16], race(16))
        errors.append(found.forecast - uf1(trial.sum(0)))
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.05


def test_a_stricter_threshold_stops_less():
    trial = folds(7, 0.6)[:8]
    chance = decide("predictive", trial, race(8)).chance
    assert decide("predictive", trial, race(8, stop_below=chance + 0.01)).stop
    assert not decide("predictive", trial, race(8, stop_below=chance - 0.01)).stop


def test_median_waits_for_five_others():
    trial = folds(1, 0.1)[:8]
    assert not decide("median", trial, Race(others=[0.9] * 4)).stop
    assert decide("median", trial, Race(others=[0.9] * 5)).stop


@pytest.mark.parametrize(
    ("others", "stop"), [([], False), ([0.99], True), ([0.99, 0.0, 0.0], False)]
)
def test_asha_keeps_the_best_half_itself_counted(others, stop):
    assert decide("asha", folds(1, 0.6)[:8], Race(others=others)).stop is stop


def test_asha_keeps_the_share_that_was_asked_for():
    others = list(np.linspace(0.0, 1.0, 19))
    own = [decide("asha", folds(1, 0.6)[:8], Race(others=others, keep=keep)).stop
           for keep in (0.05, 0.95)]  # fmt: skip
    assert own == [True, False]


def test_the_most_promising_is_the_most_likely_to_end_above_the_incumbent():
    stopped = {n: folds(n, right)[:8] for n, right in enumerate((0.3, 0.68, 0.5, 0.68))}
    stopped[3] = stopped[1]
    seen = race(8)
    chances = [decide("predictive", trial, seen).chance for trial in stopped.values()]
    assert most_promising(stopped, seen) == int(np.argmax(chances)) == 1
    hopeless = {0: folds(0, 0.0)[:8], 1: folds(1, 0.1)[:8]}  # of chance 0 both
    assert most_promising(hopeless, seen) == 1
    assert most_promising({**stopped, 4: folds(4, 0.2)[:16]}, Race()) == 4


def test_wilcoxon_agrees_with_the_direction():
    worse = decide("wilcoxon", folds(1, 0.4)[:16], race(16))
    better = decide("wilcoxon", folds(1, 0.95)[:16], race(16))
    assert worse.stop
    assert worse.chance < 0.1 < 0.9 < better.chance


def test_counts_by_fold():
    label, predicted = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])
    held_out = np.array([[True, True, False, False], [False, False, True, False]])
    found = count_by_fold(predicted, label, held_out, classes=2)
    np.testing.assert_array_equal(found, [[[1, 0], [1, 0]], [[0, 0], [0, 1]]])
    assert prefix_score(found, 1) == pytest.approx(1 / 3)


def test_unknown_rule():
    with pytest.raises(InputError, match="'predictiv' is no rule; did you mean 'predictive'"):
        decide("predictiv", folds(1)[:8], race(8))
