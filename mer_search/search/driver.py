"""Starts or continues a search: prepares it and lets Ray Tune run its trials."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Literal

from mer_search.errors import MerSearchError
from mer_search.experiment import Experiment
from mer_search.features.cache import Cache
from mer_search.loso.ledger import Ledger
from mer_search.search.book import Book, News
from mer_search.search.hold import hold
from mer_search.search.prepare import Prepared, Progress, prepare
from mer_search.search.storing import StoreFault, writing
from mer_search.search.warming import warm

RETRIES = 3
"""Times a trial starts again after its worker was lost; finished blocks are not computed again."""
RAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
}
"""Ray's settings, read when it is imported: its own logs and snapshots cost more than a trial."""


@dataclass(frozen=True)
class Outcome:
    """How a launch ended.

    Attributes:
        ended: all trials are there, someone asked with `mer-search stop`, or a signal came.
        started: trials that this launch started or went on with.
        failed: trials of this launch that failed.
        why: the limit that ended it; empty where it was none.
    """

    prepared: Prepared
    ended: Literal["finished", "stopped", "interrupted"]
    started: int
    failed: int
    why: str = ""


class Watcher:
    """Hears of everything in the driver's thread; the terminal and MLflow are such watchers."""

    def begins(self, prepared: Prepared, book: Book, slots: int) -> None: ...
    def news(self, news: News) -> None: ...
    def says(self, sentence: str) -> None: ...


def launch(
    experiment: Experiment,
    *,
    store: str,
    cache: Cache,
    address: str | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    watchers: tuple[Watcher, ...] = (),
    warm_start: str | None = None,
) -> Outcome:
    """Runs the search until it has `experiment.search.trials` trials, or someone stops it.

    Args:
        address: of a running Ray cluster, or None for one on this machine that ends with this call.
        warm_start: an earlier search of this store whose trials guide the sampler.
        device: where frames are embedded; trials use what Ray grants them.

    Raises:
        InputError, SearchDiffers, WeightsMissing: see `prepare`.
        SearchHeld: another driver runs this search.
        MerSearchError: no trial gets as far as its first block, or many fail in a row.
        StoreFault: the store cannot be written.
    """
    ledger = Ledger(store, experiment.name)
    with writing(ledger), hold(ledger):
        ledger.forget_stop()
        says = [watcher.says for watcher in watchers][:1]
        known = warm(experiment, ledger, warm_start, says=says[0] if says else lambda told: None)
        prepared = prepare(experiment, ledger, cache=cache, device=device, progress=progress)

        def tell(news: News) -> None:
            for watcher in watchers:
                watcher.news(news)

        trials = experiment.search.trials
        book = Book(experiment, ledger, prepared.protocol, trials=trials, warm=known, tell=tell)
        todo = book.todo
        if todo:
            with _ray(address) as slots_now, _signals(book, watchers):
                slots = _slots(experiment, book, slots_now)
                for watcher in watchers:
                    watcher.begins(prepared, book, slots())
                _tune(experiment, book, prepared, cache=cache, slots=slots)
        if book.why and not book.limits.reached:
            raise StoreFault(book.why)
        if book.hopeless:
            raise MerSearchError(book.troubles.told())
    ended: Literal["finished", "stopped", "interrupted"] = "finished"
    if book.stopping:
        ended = "interrupted" if book.signalled else "stopped"
    return Outcome(prepared, ended, todo - book.todo, len(book.troubles.reasons), book.why)


def _tune(
    experiment: Experiment,
    book: Book,
    prepared: Prepared,
    *,
    cache: Cache,
    slots: Callable[[], int],
) -> None:
    """Lets Ray Tune run what the book proposes. Results are in the ledger, not in Tune's grid."""
    from ray import tune

    from mer_search.search.searcher import BlockScheduler, LedgerSearcher
    from mer_search.search.worker import LosoTrial, Material

    material = Material(experiment, prepared.dataset, prepared.protocol, book.ledger, cache.root)
    trainable = tune.with_parameters(LosoTrial, material=material)
    needs = {"cpu": experiment.resources.cpu, "gpu": experiment.resources.gpu}
    with tempfile.TemporaryDirectory(prefix="mer-search-tune-") as scratch:
        tune.Tuner(
            tune.with_resources(trainable, needs),
            tune_config=tune.TuneConfig(
                search_alg=LedgerSearcher(book, slots),
                scheduler=BlockScheduler(book),
                num_samples=book.todo,
                reuse_actors=True,
                trial_name_creator=lambda trial: f"trial-{trial.config['number']}",
                trial_dirname_creator=lambda trial: f"trial-{trial.config['number']}",
            ),
            run_config=tune.RunConfig(
                name=experiment.name,
                storage_path=scratch,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        ).fit()


@contextmanager
def _ray(address: str | None) -> Iterator[Callable[[], dict[str, float]]]:
    """A Ray cluster; gives the function that tells its resources now."""
    for name, value in RAY.items():
        os.environ.setdefault(name, value)
    import ray

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # reasons are in the ledger
    ray.init(
        address=address or "local",
        include_dashboard=False if address is None else None,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield ray.cluster_resources
    finally:
        ray.shutdown()


def _slots(
    experiment: Experiment, book: Book, resources: Callable[[], dict[str, float]]
) -> Callable[[], int]:
    """How many trials fit now, or as many as the user said."""
    asked, needs = experiment.search.concurrency, experiment.resources
    if asked != "auto":
        return lambda: int(asked)

    def fitting() -> int:
        there = resources()
        fits = there.get("CPU", 0.0) / needs.cpu
        if needs.gpu:
            fits = min(fits, there.get("GPU", 0.0) / needs.gpu)
        return max(1, int(fits))

    return fitting


@contextmanager
def _signals(book: Book, watchers: tuple[Watcher, ...]) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends the search after its blocks, the second at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if book.signalled:
            raise KeyboardInterrupt
        book.stopping = book.signalled = True
        for watcher in watchers:
            watcher.says("ending after the running blocks; Ctrl-C again ends at once")

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
