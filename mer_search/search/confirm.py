"""`search.confirm`: the best three trials are trained again with fresh seeds at the end.

They are trials of a search of their own, inside the search's folder, so that they are kept,
continued and never chosen from like any others.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from mer_search.config import Racing
from mer_search.experiment import Domain, Experiment
from mer_search.loso.confirmed import SEED, Confirmed, best, confirmed, place
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results
from mer_search.search.driver import launch


def confirm(experiment: Experiment, ledger: Ledger, **options: Any) -> tuple[Confirmed, ...]:
    """Trains the best three again and tells mean and spread; () without a finished trial.

    Args:
        options: of `driver.launch`, but for the store.
    """
    objective = experiment.evaluation.objective
    results = read_results(ledger)
    chosen = best(results, objective)
    if not chosen:
        return ()
    again = fresh(experiment, [each.record.params for each in chosen], place(chosen))
    launch(again, store=str(PurePosixPath(ledger.root)) if ledger.local else
           f"{ledger.store}/{ledger.name}", **options)  # fmt: skip
    return confirmed(ledger, results, objective)


def fresh(experiment: Experiment, chosen: list[dict[str, Any]], name: str) -> Experiment:
    """The search that trains `chosen` with seeds that the search itself has not used."""
    domain = experiment.domains.get(SEED)
    used = domain.every if domain else (experiment.fixed[SEED],)
    step = experiment.evaluation.seeds  # a trial uses its own seed and those after it
    first = max(used) + step
    seeds = tuple(range(first, first + step * experiment.search.confirm, step))
    domains = {**experiment.domains, SEED: Domain(kind="choice", values=seeds)}
    search = experiment.search.model_copy(
        update={
            "sampler": "random", "trials": len(chosen) * len(seeds), "confirm": 0,
            "first": tuple({**params, SEED: seed} for params in chosen for seed in seeds),
            "racing": Racing(rule="none", blocks=experiment.search.racing.blocks),
            "constraints": (), "max_folds": None, "max_hours": None,
        }
    )  # fmt: skip
    fixed = {path: value for path, value in experiment.fixed.items() if path != SEED}
    return replace(experiment, name=name, fixed=fixed, domains=domains, search=search)
