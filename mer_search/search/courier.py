"""Brings the features that a trial needs to nodes that do not see the driver's cache.

An actor beside the driver hands out cache entries; a node fetches each once, under the entry's
lock, into a folder of its own, and all trials there map the same file. A node that shares the
driver's filesystem uses the driver's cache as it is. A node that joins late fetches when its first
trial begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mer_search.features.cache import Cache

HANDS = 8
"""Entries that the driver's side reads at the same time."""


class Courier:
    """Runs on the driver's node; not for deciding what a trial needs."""

    def __init__(self, root: Path) -> None:
        self.cache = Cache(root)

    def digests(self, keys: list[str]) -> dict[str, str]:
        """What each entry is now; an entry that another search widened has a new digest."""
        found = {key: self.cache.digest(key) for key in keys}
        return {key: digest for key, digest in found.items() if digest}

    def entry(self, key: str) -> bytes:
        """The bytes of one entry."""
        return self.cache.path(key).read_bytes()


def start(cache: Cache) -> Any:
    """The actor, on this node, asking for nothing and living as long as the driver."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Courier)
    return actor.options(
        scheduling_strategy=here, num_cpus=0, max_concurrency=HANDS, max_restarts=-1,
        max_task_retries=-1,
    ).remote(cache.root)  # fmt: skip


def cache_here(root: Path, identity: str) -> Cache:
    """The driver's cache where this node sees it, else this node's own copy of it."""
    if (there := Cache(root)).identity(create=False) == identity:
        return there
    return Cache(Cache.default().root.with_name("copies") / identity)


def bring(keys: Iterable[str], *, to: Cache, courier: Any) -> int:
    """Fetches what is not here or is older; returns the number of entries."""
    import ray

    fetched = 0
    promised: dict[str, str] = ray.get(courier.digests.remote(sorted(keys)))
    for key, digest in promised.items():
        if to.digest(key) == digest:
            continue
        with to.lock(key):
            if to.digest(key) != digest:
                to.put(key, ray.get(courier.entry.remote(key)))
                fetched += 1
    return fetched
