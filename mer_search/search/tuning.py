"""Lets Ray Tune run what the book proposes; what its workers need is sent along once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mer_search.datasets.clips import DataSet
from mer_search.experiment import Experiment
from mer_search.features import plan
from mer_search.features.cache import Cache
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import Protocol
from mer_search.search import courier
from mer_search.search.book import Book
from mer_search.search.prepare import Prepared

if TYPE_CHECKING:
    from mer_search.search.worker import Material

RETRIES = 3
"""Times a trial starts again after its worker was lost; finished blocks are not computed again."""


def material_of(
    experiment: Experiment,
    dataset: DataSet,
    protocol: Protocol,
    *,
    ledger: Ledger,
    cache: Cache,
    far: bool,
) -> Material:
    """What workers need; with what brings them features where they are far."""
    from mer_search.search.worker import Material

    backbones = {each.backbone for each in experiment.feature_settings()}
    return Material(
        experiment, dataset, protocol, ledger, cache.root,
        weights={each: plan.identity(each) for each in backbones},
        identity=cache.identity() if far else "",
        courier=courier.start(cache) if far else None,
    )  # fmt: skip


def tune_trials(
    experiment: Experiment,
    book: Book,
    prepared: Prepared,
    *,
    cache: Cache,
    slots: Callable[[], int],
    far: bool = False,
    trainable: type[Any] | None = None,
) -> None:
    """Lets Ray Tune run what the book proposes. Results are in the ledger, not in Tune's grid.

    Args:
        far: workers may be on other machines, which fetch features from this one.
        trainable: instead of `LosoTrial`, to measure the driver by itself.
    """
    from ray import tune

    from mer_search.search.searcher import BlockScheduler, LedgerSearcher
    from mer_search.search.tune_repairs import Silence
    from mer_search.search.worker import LosoTrial

    material = material_of(
        experiment, prepared.dataset, prepared.protocol, ledger=book.ledger, cache=cache, far=far
    )
    given = tune.with_parameters(trainable or LosoTrial, material=material)
    needs = {"cpu": experiment.resources.cpu, "gpu": experiment.resources.gpu}
    with tempfile.TemporaryDirectory(prefix="mer-search-tune-") as scratch:
        tune.Tuner(
            tune.with_resources(given, needs),
            tune_config=tune.TuneConfig(
                search_alg=LedgerSearcher(book, slots),
                scheduler=BlockScheduler(book),
                num_samples=book.todo + book.chances,
                reuse_actors=True,
                trial_name_creator=lambda trial: f"trial-{trial.config['number']}",
                trial_dirname_creator=lambda trial: f"trial-{trial.config['number']}",
            ),
            run_config=tune.RunConfig(
                name=experiment.name,
                storage_path=scratch,
                verbose=0,
                callbacks=[Silence()],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        ).fit()
