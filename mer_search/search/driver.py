"""Starts or continues a search: prepares it and lets Ray Tune run its trials."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Literal

from mer_search.datasets.clips import DataSet
from mer_search.errors import MerSearchError
from mer_search.experiment import Experiment
from mer_search.features import plan
from mer_search.features.cache import Cache
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import Protocol
from mer_search.search import courier
from mer_search.search.book import Book, News
from mer_search.search.hold import hold
from mer_search.search.nodes import coming, nodes, reach, room, short
from mer_search.search.preflight import check
from mer_search.search.prepare import Prepared, Progress, prepare
from mer_search.search.storing import StoreFault, writing
from mer_search.search.warming import warm

if TYPE_CHECKING:
    from mer_search.search.worker import Material

RETRIES = 3
"""Times a trial starts again after its worker was lost; finished blocks are not computed again."""
WAITING = 8
"""Trials that may wait for an autoscaler's node; each is proposed without the others' scores."""
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
    """Hears of everything in the driver's thread; the terminal and MLflow are such watchers.

    Attributes:
        follows_inner: whether it hears of the inner searches of a nested one as well.
    """

    follows_inner = False

    def begins(self, prepared: Prepared, book: Book, slots: int) -> None: ...
    def news(self, news: News) -> None: ...
    def says(self, sentence: str) -> None: ...
    def nested(self) -> None: ...


class _Everyone(Watcher):
    """Passes everything on to all watchers, in their order."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self.watchers = watchers

    def begins(self, prepared: Prepared, book: Book, slots: int) -> None:
        for watcher in self.watchers:
            watcher.begins(prepared, book, slots)

    def news(self, news: News) -> None:
        for watcher in self.watchers:
            watcher.news(news)

    def says(self, sentence: str) -> None:
        for watcher in self.watchers:
            watcher.says(sentence)


def launch(
    experiment: Experiment,
    *,
    store: str,
    cache: Cache,
    address: str | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    watchers: tuple[Watcher, ...] = (),
    clips: Collection[str] | None = None,
    warm_start: str | None = None,
) -> Outcome:
    """Runs the search until it has `experiment.search.trials` trials, or someone stops it.

    Args:
        address: of a running Ray cluster, or None for one on this machine that ends with this call.
        warm_start: an earlier search of this store whose trials guide the sampler.
        device: where frames are embedded; trials use what Ray grants them.
        clips: keys of the clips to search on; all of the data set if not given.

    Raises:
        InputError, SearchDiffers, WeightsMissing: see `prepare`.
        InputError: the cluster cannot run it, see `preflight.check`.
        SearchHeld: another driver runs this search.
        MerSearchError: no trial gets as far as its first block, or many fail in a row.
        StoreFault: the store cannot be written.
    """
    everyone, ledger = _Everyone(watchers), Ledger(store, experiment.name)
    with writing(ledger), hold(ledger), ExitStack() as cluster:
        ledger.forget_stop()
        if address:  # its faults are told before frames are extracted, which may take hours
            cluster.enter_context(ray_cluster(address))
            check(_needs(experiment), ledger, address=address)
        known = warm(experiment, ledger, warm_start, says=everyone.says)
        prepared = prepare(
            experiment, ledger, cache=cache, device=device, progress=progress, clips=clips
        )
        book = Book(
            experiment, ledger, prepared.protocol, trials=experiment.search.trials, warm=known,
            tell=everyone.news, say=everyone.says,
        )  # fmt: skip
        todo = book.todo
        if todo:
            if not address:
                cluster.enter_context(ray_cluster(None))
                check(_needs(experiment), ledger, address=None)
            with _signals(book, everyone):
                slots = _slots(experiment, book, growing=address is not None)
                everyone.begins(prepared, book, slots())
                _tune(experiment, book, prepared, cache=cache, slots=slots, far=bool(address))
        if book.why and not book.limits.reached:
            raise StoreFault(book.why)
        if book.hopeless:
            raise MerSearchError(book.troubles.told())
    ended: Literal["finished", "stopped", "interrupted"] = "finished"
    if book.stopping:
        ended = "interrupted" if book.signalled else "stopped"
    return Outcome(prepared, ended, todo - book.todo, len(book.troubles.reasons), book.why)


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


def _tune(
    experiment: Experiment,
    book: Book,
    prepared: Prepared,
    *,
    cache: Cache,
    slots: Callable[[], int],
    far: bool,
) -> None:
    """Lets Ray Tune run what the book proposes. Results are in the ledger, not in Tune's grid.

    Args:
        far: workers may be on other machines, which fetch features from this one.
    """
    from ray import tune

    from mer_search.search.searcher import BlockScheduler, LedgerSearcher
    from mer_search.search.worker import LosoTrial

    material = material_of(
        experiment, prepared.dataset, prepared.protocol, ledger=book.ledger, cache=cache, far=far
    )
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
def ray_cluster(address: str | None) -> Iterator[None]:
    """A Ray cluster: the one around this block, at the address, or one of this process."""
    for name, value in RAY.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    if address:
        reach(address)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # reasons are in the ledger
    # A border: Ray tells an absent cluster, a refused token and another version in many classes.
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as fault:
        if address is None:
            raise
        raise MerSearchError(
            f"the Ray cluster at {address} cannot be joined ({short(fault)}); this machine has to "
            "be one of its nodes, with the same Ray and Python and its token (RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH); from elsewhere use `mer-search submit`"
        ) from fault
    try:
        yield
    finally:
        ray.shutdown()


def _needs(experiment: Experiment) -> dict[str, float]:
    """What a trial asks for, by Ray's names."""
    needs = {"CPU": float(experiment.resources.cpu), "GPU": float(experiment.resources.gpu)}
    return {name: amount for name, amount in needs.items() if amount}


def _slots(experiment: Experiment, book: Book, *, growing: bool) -> Callable[[], int]:
    """How many trials may be under way now: as many as fit, or as many as the user said.

    Where an autoscaler brings nodes, a few more: it answers only to trials that wait for one.
    """
    asked, needs = experiment.search.concurrency, _needs(experiment)
    if asked != "auto":
        return lambda: int(asked)
    now = room(needs, nodes())
    waiting = WAITING if growing and book.todo > now and coming(needs, now + 1) else 0
    return lambda: max(1, room(needs, nodes()) + waiting)


@contextmanager
def _signals(book: Book, watcher: Watcher) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends the search after its blocks, the second at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if book.signalled:
            raise KeyboardInterrupt
        book.stopping = book.signalled = True
        watcher.says("ending after the running blocks; Ctrl-C again ends at once")

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
