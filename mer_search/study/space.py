"""Domains as Optuna sees them: asks a study for the next parameters. The only address of optuna,
with `rebuild.py`."""

from __future__ import annotations

import random
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from mer_search.experiment import Domain, Experiment


def distribution(domain: Domain) -> BaseDistribution:
    """The Optuna distribution of one domain."""
    if domain.kind == "choice":
        return CategoricalDistribution(domain.values)
    if domain.kind == "int":
        return IntDistribution(int(domain.low), int(domain.high), domain.log, domain.step)
    return FloatDistribution(domain.low, domain.high, domain.log)


def suggest(trial: optuna.trial.Trial, experiment: Experiment) -> dict[str, Any]:
    """Parameters of a trial: only the leaves that matter given those chosen before."""
    params: dict[str, Any] = {}
    for path, domain in experiment.active(params):
        params[path] = _one(trial, path, domain)
    return params


def _one(trial: optuna.trial.Trial, path: str, domain: Domain) -> Any:
    if domain.kind == "choice":
        return trial.suggest_categorical(path, domain.values)
    low, high = int(domain.low), int(domain.high)
    if domain.kind == "int":
        return trial.suggest_int(path, low, high, step=domain.step, log=domain.log)
    return trial.suggest_float(path, domain.low, domain.high, log=domain.log)


def grid(experiment: Experiment) -> list[dict[str, Any]]:
    """Every point of a finite space once, shuffled by the search's seed: a part of it is fair."""
    points: list[dict[str, Any]] = [{}]
    for path, domain in experiment.domains.items():
        wider = []
        for point in points:
            if domain.active({**experiment.fixed, **point}):
                wider += [{**point, path: value} for value in domain.every]
            else:
                wider.append(point)
        points = wider
    random.Random(experiment.search.seed).shuffle(points)
    return points


def sampler(kind: str, *, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """The sampler of one ask.

    Seeded by (search seed, trial number): a study that is rebuilt after an interruption would
    otherwise propose its first trials again.
    """
    mixed = (seed * 1_000_003 + number) % 2**32
    if kind in ("random", "grid"):  # a grid's points are enqueued
        return optuna.samplers.RandomSampler(seed=mixed)
    if kind == "gp":
        return optuna.samplers.GPSampler(seed=mixed, warn_independent_sampling=False)
    return optuna.samplers.TPESampler(seed=mixed)
