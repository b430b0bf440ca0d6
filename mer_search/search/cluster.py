"""The Ray cluster that a search runs on: its settings, joining it, and how many trials it takes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mer_search.errors import MerSearchError
from mer_search.experiment import Experiment
from mer_search.search.book import Book
from mer_search.search.nodes import coming, nodes, reach, room, short

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
    # A border: Ray tells an absent cluster, a refused token, another version and a start that took
    # too long in many classes.
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as fault:
        ray.shutdown()  # what has started of it
        raise MerSearchError(_unreachable(address, short(fault))) from fault
    try:
        yield
    finally:
        ray.shutdown()


def _unreachable(address: str | None, why: str) -> str:
    """The sentence for a Ray that cannot be started or joined."""
    if address is None:
        return (
            f"Ray did not start on this machine ({why}); as a rule memory, processes or disk are "
            "short, or the machine is very busy: see `free`, `ulimit -u` and `df /tmp`, and launch "
            "again, nothing is lost"
        )
    return (
        f"the Ray cluster at {address} cannot be joined ({why}); this machine has to be one of its "
        "nodes, with the same Ray and Python and its token (RAY_AUTH_TOKEN or "
        "RAY_AUTH_TOKEN_PATH); from elsewhere use `mer-search submit`"
    )


def needs(experiment: Experiment) -> dict[str, float]:
    """What a trial asks for, by Ray's names."""
    asked = {"CPU": float(experiment.resources.cpu), "GPU": float(experiment.resources.gpu)}
    return {name: amount for name, amount in asked.items() if amount}


def slots(experiment: Experiment, book: Book, *, growing: bool) -> Callable[[], int]:
    """How many trials may be under way now: as many as fit, or as many as the user said.

    Where an autoscaler brings nodes, a few more: it answers only to trials that wait for one.
    """
    asked, each = experiment.search.concurrency, needs(experiment)
    if asked != "auto":
        return lambda: int(asked)
    now = room(each, nodes())
    waiting = WAITING if growing and book.todo > now and coming(each, now + 1) else 0
    return lambda: max(1, room(each, nodes()) + waiting)
