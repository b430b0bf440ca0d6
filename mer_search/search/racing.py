"""Whether a trial is worth its remaining folds: pure rules behind one contract. Not the scheduler.

A rule sees the trial's pooled counts on the prefix of folds that is finished, and what others did
on the *same* prefix; folds differ in difficulty and order matters, so nothing else is comparable.
Scores are pooled, never means of fold scores. The incumbent is the best trial with all folds done.

Letters: F folds, P folds of the finished prefix, R = F - P, C classes, K other trials, B draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mer_search.errors import InputError, MerSearchError, did_you_mean
from mer_search.loso.metrics import OBJECTIVES, Floats, confusion

DRAWS = 1000
MEDIAN_OTHERS = 5
"""Others on the same prefix before `median` dares to stop anything."""


@dataclass(frozen=True)
class Race:
    """What a rule may look at besides the trial.

    Attributes:
        incumbent: counts by fold of the best complete trial, truth by row [F, C, C], or None.
        others: the objective of other trials on the same prefix [K] (see `prefix_score`).
        objective: the score that the search maximises.
        stop_below: chance of ending above the incumbent below which a trial stops; for
            `wilcoxon` the p value.
        keep: share of trials that `asha` lets pass each block.
        seed: of the draws; the same inputs give the same decision.
    """

    incumbent: NDArray[np.integer[Any]] | None = None
    others: ArrayLike = ()
    objective: str = "uf1"
    stop_below: float = 0.1
    keep: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Decision:
    """What a rule says after a block.

    Attributes:
        stop: whether the remaining folds are not worth training.
        chance: that the trial ends above the incumbent (a p value for `wilcoxon`); None where
            the rule knows none.
        reason: a sentence for the trial's record.
        forecast: the final objective expected from the prefix; None where the rule knows none.
    """

    stop: bool
    chance: float | None
    reason: str
    forecast: float | None = None


Counts = NDArray[np.integer[Any]]
Rule = Callable[[Counts, Race], Decision]


def count_by_fold(
    predicted: NDArray[np.integer[Any]],
    label: NDArray[np.integer[Any]],
    held_out: NDArray[np.bool_],
    *,
    classes: int,
) -> NDArray[np.int64]:
    """Counts of one trial by fold, truth by row [P, C, C].

    Args:
        predicted: class of each clip [N]; clips of unfinished folds may hold anything.
        label: class index [N].
        held_out: the finished folds' clips [P, N].
    """
    return np.stack([confusion(label[own], predicted[own], classes) for own in held_out])


def prefix_score(counts: Counts, folds: int, *, objective: str = "uf1") -> float:
    """The pooled objective of the first `folds` folds of counts [F, C, C]."""
    return float(OBJECTIVES[objective](counts[:folds].sum(0)))


def decide(rule: str, trial: Counts, race: Race, *, decided: int = 0) -> Decision:
    """Whether to stop a trial after its finished prefix.

    Args:
        rule: a name of `RULES`.
        trial: the trial's counts by fold, truth by row [P, C, C].
        decided: folds on which this trial was judged before: a retried trial reports its cached
            blocks again, and a second look with a newer incumbent would be one look too many.

    Raises:
        InputError: unknown rule.
        MerSearchError: trial and incumbent do not share their folds.
    """
    if rule not in RULES:
        raise InputError("search.racing.rule", f"{rule!r} is no rule; {did_you_mean(rule, RULES)}")
    done = len(trial)
    if done <= decided:
        return Decision(False, None, f"{done} folds were judged before")
    if race.incumbent is None:
        return RULES[rule](trial, race) if rule in WITHOUT_INCUMBENT else GO_ON_ALONE
    if done > len(race.incumbent) or not np.array_equal(
        trial.sum(-1), race.incumbent[:done].sum(-1)
    ):
        raise MerSearchError(
            f"racing: the trial's {done} folds hold other clips than the incumbent's first {done}; "
            "all trials of a search must share one fold order"
        )
    if done == len(race.incumbent):
        return Decision(False, None, "all folds are done")
    return RULES[rule](trial, race)


def none(trial: Counts, race: Race) -> Decision:
    """Every trial trains all folds."""
    return Decision(False, None, "no racing")


def predictive(trial: Counts, race: Race) -> Decision:
    """Stops where the trial has little chance to end above the incumbent.

    The prefix is known. The rest is the incumbent's known rest plus a drawn difference: by true
    class, the trial-minus-incumbent counts per clip of the prefix folds, under Dirichlet weights
    (Rubin 1981, Ann. Statist. 9:130, the Bayesian bootstrap), times the clips of the rest.
    Concentration R / (P + R) instead of 1 widens the draws by the rest's own sampling error:
    variance 1/P + 1/R instead of 1/P. Equal ends count half.
    """
    assert race.incumbent is not None
    done, rest = len(trial), len(race.incumbent) - len(trial)
    known, coming = race.incumbent[:done], race.incumbent[done:].sum(0)
    rng = np.random.default_rng([race.seed, done])
    weight = rng.gamma(rest / (done + rest), size=(DRAWS, done)) + 1e-12
    gained = np.tensordot(weight, (trial - known).astype(float), axes=1)
    clips = weight @ known.sum(-1)
    rate = gained / np.maximum(clips, 1e-12)[:, :, None]
    ends = np.maximum(trial.sum(0) + coming + rate * coming.sum(-1)[:, None], 0.0)
    score = OBJECTIVES[race.objective]
    margin = score(ends) - score(race.incumbent.sum(0))
    chance = float((margin > 1e-9).mean() + 0.5 * (np.abs(margin) <= 1e-9).mean())
    return Decision(
        chance < race.stop_below,
        chance,
        f"chance {chance:.2f} of ending above the incumbent after {done} of {done + rest} folds",
        float(score(ends).mean()),
    )


def median(trial: Counts, race: Race) -> Decision:
    """Stops below the median of the others on the same prefix (Golovin et al. 2017, Vizier)."""
    own, others = _standing(trial, race)
    if len(others) < MEDIAN_OTHERS:
        return Decision(False, None, f"{len(others)} others on {len(trial)} folds are too few")
    middle = float(np.median(others))
    return Decision(
        own < middle,
        None,
        f"{race.objective} {own:.3f} on {len(trial)} folds, median of {len(others)} others "
        f"{middle:.3f}",
    )


def asha(trial: Counts, race: Race) -> Decision:
    """Stops outside the best share on the same prefix, itself counted (Li et al. 2020, ASHA)."""
    own, others = _standing(trial, race)
    place = 1 + int((others > own).sum())
    room = max(1, int(race.keep * (1 + len(others))))
    return Decision(
        place > room,
        None,
        f"place {place} of {1 + len(others)} on {len(trial)} folds, the first {room} go on",
    )


def wilcoxon(trial: Counts, race: Race) -> Decision:
    """Stops where folds are significantly worse than the incumbent's (signed-rank test).

    A fold's value is what it adds to the recall sum: right clips per class over the class's clips
    (a fold's own UF1 means nothing where it holds one class).
    """
    assert race.incumbent is not None
    size = np.maximum(race.incumbent.sum((0, 2)), 1)
    right = np.diagonal(trial - race.incumbent[: len(trial)], axis1=1, axis2=2)
    gain = (right / size).sum(1)
    if not gain.any():
        return Decision(False, 1.0, f"equal to the incumbent on {len(trial)} folds")
    p = float(stats.wilcoxon(gain, zero_method="zsplit", alternative="less").pvalue)
    return Decision(
        p < race.stop_below, p, f"worse than the incumbent on {len(trial)} folds with p = {p:.3f}"
    )


def most_promising(stopped: Mapping[int, Counts], race: Race) -> int:
    """The stopped trial that most likely ends above the incumbent, by the draws of `predictive`.

    The best forecast of equals, then the first. Without an incumbent: the longest prefix, the best
    on it.

    Args:
        stopped: counts by fold [P, C, C] of each, by number; at least one.
    """

    def worth(number: int) -> tuple[float, float, int]:
        trial = stopped[number]
        if race.incumbent is None:
            own = prefix_score(trial, len(trial), objective=race.objective)
            return len(trial), own, -number
        found = predictive(trial, race)
        return found.chance or 0.0, found.forecast or 0.0, -number

    return max(stopped, key=worth)


RULES: dict[str, Rule] = {
    "none": none,
    "predictive": predictive,
    "median": median,
    "asha": asha,
    "wilcoxon": wilcoxon,
}
WITHOUT_INCUMBENT = frozenset({"none", "median", "asha"})
"""Rules that need no complete trial."""
GO_ON_ALONE = Decision(False, None, "no trial has all folds yet")


def _standing(trial: Counts, race: Race) -> tuple[float, Floats]:
    """The trial's objective on its prefix, and the others' [K]."""
    own = prefix_score(trial, len(trial), objective=race.objective)
    return own, np.asarray(race.others, float)
