"""Starts or continues a search: prepares it and lets Ray Tune run its trials."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Literal, TypedDict, Unpack

from mer_search.errors import MerSearchError
from mer_search.experiment import Experiment
from mer_search.features.cache import Cache
from mer_search.features.extract import fill
from mer_search.loso.ledger import Ledger
from mer_search.search.book import Book
from mer_search.search.cluster import needs, ray_cluster, slots
from mer_search.search.hold import hold
from mer_search.search.preflight import check
from mer_search.search.prepare import Filler, Prepared, Progress, prepare
from mer_search.search.storing import StoreFault, writing
from mer_search.search.tuning import tune_trials
from mer_search.search.warming import warm
from mer_search.search.watching import Everyone, Watcher


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

    @property
    def cut_short(self) -> bool:
        """Whether a person or a signal ended it; a limit of the search does not count."""
        return self.ended != "finished" and not self.why


class Options(TypedDict, total=False):
    """How a search is launched; none of it is part of what the search is.

    Attributes:
        address: of a running Ray cluster, or None for one on this machine that ends with this call.
        device: where frames are embedded; trials use what Ray grants them.
        warm_start: an earlier search of this store whose trials guide the sampler.
    """

    address: str | None
    device: str
    progress: Progress | None
    watchers: tuple[Watcher, ...]
    warm_start: str | None


def launch(
    experiment: Experiment,
    *,
    store: str,
    cache: Cache,
    clips: Collection[str] | None = None,
    **options: Unpack[Options],
) -> Outcome:
    """Runs the search until it has `experiment.search.trials` trials, or someone stops it.

    Args:
        clips: keys of the clips to search on; all of the data set if not given.

    Raises:
        InputError, SearchDiffers, WeightsMissing: see `prepare`.
        InputError: the cluster cannot run it, see `preflight.check`.
        SearchHeld: another driver runs this search.
        MerSearchError: no trial gets as far as its first block, many fail in a row, or trials
            failed and none is left that succeeded.
        StoreFault: the store cannot be written.
    """
    everyone, ledger = Everyone(options.get("watchers", ())), Ledger(store, experiment.name)
    address = options.get("address")
    with writing(ledger), hold(ledger), ExitStack() as stack:
        ledger.forget_stop()
        if address:  # its faults are told before frames are extracted, which may take hours
            _join(stack, experiment, ledger, address)
        known = warm(experiment, ledger, options.get("warm_start"), says=everyone.says)
        prepared = prepare(
            experiment, ledger, cache=cache, device=options.get("device", "cpu"),
            progress=options.get("progress"), clips=clips, filler=_filler(address, everyone),
        )  # fmt: skip
        book = Book(
            experiment, ledger, prepared.protocol, trials=experiment.search.trials, warm=known,
            tell=everyone.news, say=everyone.says,
        )  # fmt: skip
        todo = book.todo
        if todo or book.chances:
            if not address:
                _join(stack, experiment, ledger, None)
            _run(book, prepared, everyone, cache=cache, far=bool(address))
    return _outcome(book, prepared, todo)


def _join(stack: ExitStack, experiment: Experiment, ledger: Ledger, address: str | None) -> None:
    """A Ray until the stack ends, on which a trial fits."""
    stack.enter_context(ray_cluster(address))
    check(needs(experiment), ledger, address=address)


def _filler(address: str | None, everyone: Watcher) -> Filler:
    """What fills the cache: this process, or the cluster that it has joined."""
    if not address:
        return fill
    from mer_search.search.spreading import fill_over_cluster

    return partial(fill_over_cluster, says=everyone.says)


def _run(book: Book, prepared: Prepared, everyone: Watcher, *, cache: Cache, far: bool) -> None:
    """The trials, until they are all there or something ends them."""
    with _signals(book, everyone):
        free = slots(book.experiment, book, growing=far)
        everyone.begins(prepared, book, free())
        tune_trials(book.experiment, book, prepared, cache=cache, slots=free, far=far)
    if book.fault:
        raise StoreFault(book.fault)
    if book.in_vain:
        raise MerSearchError(book.troubles.told())


def _outcome(book: Book, prepared: Prepared, todo: int) -> Outcome:
    ended: Literal["finished", "stopped", "interrupted"] = "finished"
    if book.stopping:
        ended = "interrupted" if book.signalled else "stopped"
    started = todo - book.todo + book.second.begun
    return Outcome(prepared, ended, started, len(book.troubles.reasons), book.limit)


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
