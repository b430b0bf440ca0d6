"""One driver per search: two would propose the same trial numbers."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mer_search.errors import SearchHeld
from mer_search.features.weights import home
from mer_search.loso.ledger import Ledger


@contextmanager
def hold(ledger: Ledger) -> Iterator[None]:
    """Holds the search until the block ends; the system lets go of it if this process is killed.

    A store that is no filesystem of this machine is guarded against other drivers on this
    machine only.

    Raises:
        SearchHeld: naming who holds it and since when.
    """
    place = _place(ledger)
    place.parent.mkdir(parents=True, exist_ok=True)
    who, lock = place.with_suffix(".json"), FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout as held:
        raise SearchHeld(_told(ledger, who)) from held
    try:
        me = {"host": platform.node(), "pid": os.getpid(), "since": time.time()}
        who.write_text(json.dumps(me))
        yield
    finally:
        lock.release()


def held(ledger: Ledger) -> bool:
    """Whether a driver runs the search now, as far as this machine can tell."""
    try:
        with hold(ledger):
            return False
    except SearchHeld:
        return True


def _place(ledger: Ledger) -> Path:
    if ledger.local is not None:
        return ledger.local / "driver.lock"
    address = hashlib.sha256(f"{ledger.store}/{ledger.name}".encode()).hexdigest()[:16]
    return home() / "drivers" / f"{address}.lock"


def _told(ledger: Ledger, who: Path) -> str:
    try:
        held = json.loads(who.read_text())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(held["since"]))
        by = f"process {held['pid']} on {held['host']}, since {since}"
    except (OSError, ValueError, KeyError):  # written a moment after the lock was taken
        by = "another process"
    return (
        f"{ledger.name}: this search is running already ({by}); follow it with "
        f"`mer-search status {ledger.name}`, or end it with `mer-search stop {ledger.name}`"
    )
