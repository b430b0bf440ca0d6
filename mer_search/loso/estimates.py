"""What a search's winner is really worth, and whether A is better than B. Not for choosing.

The score that chose a trial is *selected*: too high, the more trials the higher. `correct` takes
that optimism off (BBC: bootstrap bias correction, Tsamardinos et al. 2018, Machine Learning 107,
doi 10.1007/s10994-018-5714-4) with the *subject* as resampled unit and *pooled* out-of-bag counts,
because scores of few subjects are too ragged to average. Estimand: the expected score of the
chosen trial on a fresh sample of this size. Intervals: point +- t(S - 1) x delete-one-subject
jackknife error; never percentiles of out-of-bag scores, which are far too wide.

Letters: N clips, S subjects, M trials, C classes, B resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mer_search.errors import InputError
from mer_search.loso.metrics import TALLIES, Floats, SubjectCounts

CHUNK = 4_000_000  # summed counts held at once: 16 MB, however many trials there are


@dataclass(frozen=True)
class Score:
    """A value with its interval; within [0, 1] where it is an objective's."""

    value: float
    interval: tuple[float, float]
    level: float


@dataclass(frozen=True)
class Estimate:
    """What the best of M finished trials is worth.

    Attributes:
        trial: position of the chosen trial among the M given.
        selected: its own uf1, uar and accuracy: the scores that chose it, optimistic.
        selected_interval: jackknife interval of its objective, as if it were the only trial.
        corrected: uf1, uar and accuracy after bias correction.
        interval: of the corrected objective.
        left_out: the second view, leave-one-subject-out selection: for each subject the trial
            that is best on all others; without an interval, since none covers well.
        caveats: what the correction does not correct.
    """

    trial: int
    objective: str
    finished: int
    selected: dict[str, float]
    selected_interval: tuple[float, float]
    corrected: dict[str, float]
    interval: tuple[float, float]
    level: float
    left_out: dict[str, float]
    method: str
    caveats: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """A minus B: point, interval, and the two-sided p value of no difference."""

    value: float
    interval: tuple[float, float]
    level: float
    p: float

    def words(self, a: str = "A", b: str = "B", *, p: float | None = None) -> str:
        """A sentence to quote; give `p` after `holm` where several pairs were compared."""
        value, (low, high) = self.value, self.interval
        told = (self.p if p is None else p) < 1.0 - self.level
        verdict = f"{a} is better than {b}" if told else "no evidence of a difference"
        if told and value < 0:
            verdict, value, low, high = f"{b} is better than {a}", -value, -high, -low
        return f"{verdict}: {_short(value, '+')} [{_short(low)}, {_short(high)}]"


def correct(
    counts: SubjectCounts,
    *,
    objective: str = "uf1",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    trials: int | None = None,
) -> Estimate:
    """The corrected estimate of the best trial; equals its own score where M = 1.

    Args:
        counts: finished trials only, in the order in which ties are broken.
        trials: how many trials were started, for the caveat; M if not given.

    Raises:
        InputError: fewer than 100 resamples (a subject might never be left out).
    """
    best = int(np.argmax(_pooled_scores(counts, objective)))
    error = _jackknife(_left_out_scores(counts, best, objective))
    corrected = _all_scores(counts, _out_of_bag(counts, objective, resamples, seed))
    selected = _all_scores(counts, _one_hot(counts, best))
    others = 1.0 - np.eye(counts.subjects)
    picks = np.concatenate(list(_choices(counts, others, objective)))
    left_out = np.zeros((counts.trials, counts.subjects))
    left_out[picks, np.arange(counts.subjects)] = 1.0
    reach = _reach(counts.subjects, level, error)
    return Estimate(
        trial=best,
        objective=objective,
        finished=counts.trials,
        selected=selected,
        selected_interval=_within(selected[objective], reach),
        corrected=corrected,
        interval=_within(corrected[objective], reach),
        level=level,
        left_out=_all_scores(counts, left_out),
        method=f"BBC pooled: {resamples} resamples of {counts.subjects} subjects, the best of "
        f"{counts.trials} trials by {objective} chosen on the drawn ones, counts of the others "
        f"pooled and scored once; {level:.0%} interval: point +- t({counts.subjects - 1}) x "
        "delete-one-subject jackknife error of the winner's pooled score",
        caveats=_caveats(counts, trials or counts.trials),
    )


def own_score(
    counts: SubjectCounts, trial: int, *, objective: str = "uf1", level: float = 0.95
) -> Score:
    """The score of a trial that was given, not chosen, with its jackknife-t interval."""
    value = _all_scores(counts, _one_hot(counts, trial))[objective]
    error = _jackknife(_left_out_scores(counts, trial, objective))
    return Score(value, _within(value, _reach(counts.subjects, level, error)), level)


def jackknife_mean(values: Floats, subject: NDArray[np.int64], *, level: float = 0.95) -> Score:
    """Mean of values of clips [N] with its delete-one-subject jackknife-t interval, not cut."""
    names, who = np.unique(subject, return_inverse=True)
    sums, clips = np.bincount(who, values), np.bincount(who)
    left_out = (sums.sum() - sums) / (clips.sum() - clips)
    value, reach = float(values.mean()), _reach(len(names), level, _jackknife(left_out))
    return Score(value, (value - reach, value + reach), level)


def compare_trials(
    counts: SubjectCounts, a: int, b: int, *, objective: str = "uf1", level: float = 0.95
) -> Difference:
    """Trial a minus trial b, paired by clip; both given, not chosen by these scores."""
    first, second = _pooled_scores(counts, objective)[[a, b]]
    left_out = _left_out_scores(counts, a, objective) - _left_out_scores(counts, b, objective)
    return _difference(float(first - second), left_out, level)


def compare_searches(
    a: SubjectCounts,
    b: SubjectCounts,
    *,
    objective: str = "uf1",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """What search a's choice is worth minus what search b's is, on the same clips.

    Each search chooses on the drawn subjects and is scored on the others (pooled, the same
    resamples for both). Comparing the winners' scores instead would favour the larger search.

    Raises:
        InputError: the two do not hold the same clips.
    """
    if not np.array_equal(a.true, b.true):
        raise InputError(
            "compare", "the two searches scored other clips or classes; compare on the same data"
        )
    points, left_out = [], []
    for each in (a, b):
        points.append(_all_scores(each, _out_of_bag(each, objective, resamples, seed))[objective])
        winner = int(np.argmax(_pooled_scores(each, objective)))
        left_out.append(_left_out_scores(each, winner, objective))
    return _difference(points[0] - points[1], left_out[0] - left_out[1], level)


def holm(p: ArrayLike) -> Floats:
    """p values corrected for their number (Holm 1979, Scand. J. Statist. 6:65), same order [K]."""
    raw = np.asarray(p, float)
    order = np.argsort(raw, kind="stable")
    stepped = raw[order] * np.arange(len(raw), 0, -1)
    out = np.empty_like(raw)
    out[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return out


def _pooled_scores(counts: SubjectCounts, objective: str) -> Floats:
    """The objective of each trial over all subjects [M]."""
    score = TALLIES[objective]
    return score(counts.hits.sum(1), counts.predicted.sum(1), counts.true.sum(0))


def _all_scores(counts: SubjectCounts, shares: Floats) -> dict[str, float]:
    """uf1, uar and accuracy of the counts of each subject, shared over trials by [M, S]."""
    pooled = counts.pooled(shares)
    return {name: float(score(*pooled)) for name, score in TALLIES.items()}


def _one_hot(counts: SubjectCounts, trial: int) -> Floats:
    """Shares [M, S] that take every subject from one trial."""
    shares = np.zeros((counts.trials, counts.subjects))
    shares[trial] = 1.0
    return shares


def _choices(counts: SubjectCounts, weights: Floats, objective: str) -> Iterator[NDArray[np.int64]]:
    """The best trial on subjects weighted by each row of weights [B, S], in chunks of rows."""
    classes = counts.true.shape[1]
    # Small integers are exact in float32 and sum twice as fast.
    hits, predicted = (
        each.transpose(1, 0, 2).reshape(counts.subjects, -1).astype(np.float32)
        for each in (counts.hits, counts.predicted)
    )
    step = max(1, CHUNK // hits.shape[1])
    for start in range(0, len(weights), step):
        drawn = weights[start : start + step]
        rows = drawn.astype(np.float32)
        shape = (len(drawn), counts.trials, classes)
        true = (drawn @ counts.true)[:, None, :]
        scored = TALLIES[objective](
            (rows @ hits).reshape(shape), (rows @ predicted).reshape(shape), true
        )
        yield scored.argmax(1)


def _out_of_bag(counts: SubjectCounts, objective: str, resamples: int, seed: int) -> Floats:
    """How often each trial was the choice when a subject was not drawn, as shares [M, S].

    Each subject's shares sum to 1: the plain sum over resamples would weigh subjects by how often
    chance left them out, which is noise that vanishes only with many resamples.
    """
    if resamples < 100:
        raise InputError("estimate", f"resamples {resamples} must be 100 or more; 1000 is usual")
    n = counts.subjects
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples)
    picks = np.concatenate(list(_choices(counts, drawn.astype(float), objective)))
    shares = np.zeros((counts.trials, n))
    np.add.at(shares, picks, drawn == 0)
    return np.asarray(shares / shares.sum(0), float)


def _left_out_scores(counts: SubjectCounts, trial: int, objective: str) -> Floats:
    """The trial's objective without each subject in turn [S]."""
    hits, predicted, true = (
        each.sum(0) - each for each in (counts.hits[trial], counts.predicted[trial], counts.true)
    )
    return TALLIES[objective](hits, predicted, true)


def _jackknife(left_out: Floats) -> float:
    """Delete-one-subject jackknife error: sqrt((S - 1) / S x sum of squared deviations)."""
    return float(np.sqrt((len(left_out) - 1) * left_out.var()))


def _reach(subjects: int, level: float, error: float) -> float:
    """Half the width of an interval: t quantile with S - 1 degrees of freedom x error."""
    return float(stats.t.ppf(0.5 + level / 2, subjects - 1)) * error


def _within(value: float, reach: float) -> tuple[float, float]:
    """value -+ reach, cut to [0, 1] where every score lies."""
    return max(0.0, value - reach), min(1.0, value + reach)


def _difference(value: float, left_out: Floats, level: float) -> Difference:
    """The difference `value` whose values without each subject are `left_out` [S]."""
    subjects, error = len(left_out), _jackknife(left_out)
    reach = _reach(subjects, level, error)
    if error > 0.0:
        p = 2.0 * float(stats.t.sf(abs(value) / error, subjects - 1))
    else:
        p = float(value == 0.0)
    return Difference(value, (value - reach, value + reach), level, p)


def _short(value: float, plus: str = "") -> str:
    """Three digits without the leading zero: +.012, -.031."""
    return f"{value:{plus}.3f}".replace("0.", ".", 1)


def _caveats(counts: SubjectCounts, trials: int) -> tuple[str, ...]:
    """What the corrected estimate of these counts does not correct."""
    found = [
        f"corrects the choice among the {counts.trials} finished of {trials} trials; not the "
        "sampler's or the race's use of the same subjects (nested evaluation does)"
    ]
    rare = [str(c) for c in np.flatnonzero((counts.true > 0).sum(0) < 2)]
    if rare:
        told = f"class index {', '.join(rare)} occurs in fewer than 2 subjects"
        found.append(f"{told}: not learnable")
    return tuple(found)
