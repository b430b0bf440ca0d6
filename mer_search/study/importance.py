"""How much each setting decided over whether a trial was among the best, and how sure that is.

PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255; conditional settings: arXiv 2601.20800) as
Optuna has it. A share alone misleads after few trials: beside each stand an interval over
resampled trials, and what a setting without any influence gets by chance.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.importance import PedAnovaImportanceEvaluator

from mer_search.experiment import Domain
from mer_search.loso.ledger import TrialRecord
from mer_search.study import space

FEWEST = 10
"""Finished trials below which nothing is said."""
TOP = 5
"""Trials among the best at least; Optuna's default of a tenth is too few of a short search."""


@dataclass(frozen=True)
class Importance:
    """One setting's share of the whole importance, between 0 and 1.

    Attributes:
        interval: 90 % of the shares over resampled trials.
        chance: 95 % quantile of the share under permuted scores; a share below it says nothing.
    """

    setting: str
    share: float
    interval: tuple[float, float]
    chance: float

    @property
    def told(self) -> bool:
        """Whether it is more than chance."""
        return self.share > self.chance


def importances(
    records: Iterable[TrialRecord], *, draws: int | None = None, seed: int = 0
) -> tuple[Importance, ...]:
    """Importance of each setting over finished trials, most important first.

    Args:
        records: COMPLETE ones with a value count; others are passed over.
        draws: resamples, and permutations; fewer for many trials if not given (seconds each).

    Returns:
        Empty for fewer than `FEWEST` finished trials, or where no setting varies.
    """
    finished = [each for each in records if each.state == "COMPLETE" and each.values]
    if len(finished) < FEWEST:
        return ()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scores = np.array([record.values[-1] for record in finished])
    own = _shares(finished, scores)
    if not own:
        return ()
    rng, draws = np.random.default_rng(seed), draws or min(60, max(15, 6000 // len(finished)))
    drawn, chance = [], []
    for _ in range(draws):
        rows = rng.integers(0, len(finished), len(finished))
        drawn.append(_shares([finished[row] for row in rows], scores[rows]))
        chance.append(_shares(finished, rng.permutation(scores)))
    found = []
    for setting, share in own.items():
        over = [each.get(setting, 0.0) for each in drawn]
        low, high = np.quantile(over, [0.05, 0.95])
        noise = float(np.quantile([each.get(setting, 0.0) for each in chance], 0.95))
        found.append(Importance(setting, share, (float(low), float(high)), noise))
    return tuple(sorted(found, key=lambda each: -each.share))


def _shares(records: Sequence[TrialRecord], scores: NDArray[np.float64]) -> dict[str, float]:
    """Setting -> share, of trials with these scores."""
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        optuna.trial.create_trial(
            value=float(score),
            params=dict(record.params),
            distributions={
                path: space.distribution(Domain.parse(raw))
                for path, raw in record.distributions.items()
            },
        )
        for record, score in zip(records, scores, strict=True)
    )
    quantile = min(0.5, max(0.1, TOP / len(records)))
    with warnings.catch_warnings():
        # Few trials in a regime: the interval and the chance level say so in numbers.
        warnings.filterwarnings("ignore", category=UserWarning, module="optuna")
        warnings.filterwarnings("ignore", message=".*(regimes|quantiles|number of trials).*")
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
