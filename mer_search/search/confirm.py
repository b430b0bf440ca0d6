"""`search.confirm`: the best three trials are trained again with fresh seeds at the end.

They are trials of a search of their own, inside the search's folder, so that they are kept,
continued and never chosen from like any others.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Unpack

from mer_search.config import Racing
from mer_search.experiment import Domain, Experiment
from mer_search.features.cache import Cache
from mer_search.loso.confirmed import SEED, Confirmed, best, confirmed, place
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results
from mer_search.search.driver import Options, Outcome, launch
from mer_search.search.hold import hold
from mer_search.search.watching import StopWith

MOST = 20
"""Fresh seeds that are laid down from the start, so that more may be asked for later."""


def confirm(
    outcome: Outcome, experiment: Experiment, ledger: Ledger, *, cache: Cache,
    **options: Unpack[Options],
) -> tuple[Outcome, tuple[Confirmed, ...]]:  # fmt: skip
    """Trains the best three of a finished search again, and tells mean and spread.

    Args:
        outcome: of the search.
        options: of `driver.launch`.

    Returns:
        The outcome, which is cut short if this was; nothing confirmed without a finished trial, or
        where `search.confirm` does not ask for it.
    """
    objective = experiment.evaluation.objective
    if outcome.ended != "finished" or not experiment.search.confirm:
        return outcome, ()
    results = read_results(ledger)
    if not (chosen := best(results, objective)):
        return outcome, ()
    again = fresh(experiment, [each.record.params for each in chosen], place(chosen))
    options["watchers"] = (*options.get("watchers", ()), StopWith(ledger))
    store = str(PurePosixPath(ledger.root)) if ledger.local else f"{ledger.store}/{ledger.name}"
    with hold(ledger):
        inner = launch(again, store=store, cache=cache, **options)
    if inner.ended != "finished":
        return replace(outcome, ended=inner.ended), confirmed(ledger, results, objective)
    return outcome, confirmed(ledger, results, objective)


def fresh(experiment: Experiment, chosen: list[dict[str, Any]], name: str) -> Experiment:
    """The search that trains `chosen` with seeds that the search itself has not used.

    Its points are the same for any `search.confirm`, which says how many of them are trained.
    """
    domain = experiment.domains.get(SEED)
    used = domain.every if domain else (experiment.fixed[SEED],)
    step = experiment.evaluation.seeds  # a trial uses its own seed and those after it
    first = max(used) + step
    seeds = tuple(range(first, first + step * MOST, step))
    domains = {**experiment.domains, SEED: Domain(kind="choice", values=seeds)}
    search = experiment.search.model_copy(
        update={
            "sampler": "random", "trials": len(chosen) * experiment.search.confirm, "confirm": 0,
            "first": tuple({**params, SEED: seed} for seed in seeds for params in chosen),
            "racing": Racing(rule="none", blocks=experiment.search.racing.blocks),
            "constraints": (), "max_folds": None, "max_hours": None,
        }
    )  # fmt: skip
    fixed = {path: value for path, value in experiment.fixed.items() if path != SEED}
    return replace(experiment, name=name, fixed=fixed, domains=domains, search=search)
