"""What has to hold on a cluster before the first trial: every fault at once, with node and cure.

A node needs Python, Ray, the libraries, the store and a folder for its own copy of the features;
data and weights are needed on the driver's machine only. Not for repairing anything.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec

import mer_search
from mer_search.errors import InputError
from mer_search.features.cache import Cache
from mer_search.loso.ledger import Ledger

PATIENCE = 120.0
"""Seconds a node may take to answer; its first Python process has to start in them."""
FOLDER = ".preflight"
CALLED = {"CPU": "cpu", "GPU": "gpu"}


@dataclass(frozen=True)
class Node:
    """A node of the cluster as Ray lists it."""

    id: str
    name: str
    resources: dict[str, float]


@dataclass(frozen=True)
class Answer:
    """What a node found about itself.

    Attributes:
        versions: of python, ray and mer-search; the last with a digest of its source.
        store, cache: what is wrong with them, or "".
    """

    versions: dict[str, str]
    store: str
    cache: str


def check(needs: Mapping[str, float], ledger: Ledger, *, address: str | None) -> None:
    """Asks every node on which a trial fits, all at the same time.

    Args:
        needs: what one trial asks for, by Ray's names ("CPU", "GPU").
        address: None for a cluster on this machine: then only the resources are in question.

    Raises:
        InputError: every fault of every node.
    """
    there = nodes()
    faults = list(resource_faults(needs, there, growth()))
    if address is not None:
        fitting = [node for node in there if fits(needs, node.resources)]
        mark = uuid4().hex
        _, folder = _store(ledger.store)
        try:
            with _visible(ledger.store, mark):
                for node, answer in zip(fitting, _ask(fitting, ledger.store, mark), strict=True):
                    faults += faults_of(node.name, answer, versions())
        except OSError as fault:
            faults.append(
                f"the driver's machine cannot write to the store {folder}: {_short(fault)}; mount "
                "it, or set the store's credentials in the environment"
            )
    if faults:
        raise InputError("cluster", faults)


def fits(needs: Mapping[str, float], resources: Mapping[str, float]) -> bool:
    """Whether one trial fits on an idle node with these resources."""
    return all(resources.get(name, 0.0) >= amount for name, amount in needs.items())


def resource_faults(
    needs: Mapping[str, float], there: Sequence[Node], growing: Sequence[Mapping[str, float]]
) -> Iterator[str]:
    """A sentence where no node has, and the autoscaler will bring none with, a trial's needs."""
    if any(fits(needs, each) for each in [*(node.resources for node in there), *growing]):
        return
    asked = " and ".join(f"{CALLED[name]} {amount:g}" for name, amount in needs.items() if amount)
    have = [f"{node.name} has {_told(node.resources)}" for node in there]
    have += [f"the autoscaler can add nodes with {_told(each)}" for each in growing]
    yield (
        f"a trial asks for {asked} on one node, and no node has that ({'; '.join(have)}); lower "
        "resources in the search-space file or with --set resources.cpu=.. and "
        "resources.gpu=.., or add a node that has it"
    )


def _told(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{CALLED[name]} {resources.get(name, 0.0):g}" for name in CALLED)


def faults_of(name: str, answer: Answer | str, mine: Mapping[str, str]) -> Iterator[str]:
    """The sentences about one node; `answer` is text where the node could not answer."""
    if isinstance(answer, str):
        yield (
            f"node {name} cannot run mer-search ({answer}); install the same mer-search and its "
            "libraries there, or send the package along with `mer-search submit`"
        )
        return
    for what, version in mine.items():
        if answer.versions[what] != version:
            yield (
                f"node {name} has {what} {answer.versions[what]}, the driver has {version}; "
                "install the same on both"
            )
    if answer.store:
        yield (
            f"node {name}: the store {answer.store}; mount the same folder there, or use an "
            "address such as s3:// with its credentials in the environment of `ray start`"
        )
    if answer.cache:
        yield (
            f"node {name}: its folder for features {answer.cache}; set MER_SEARCH_CACHE in the "
            "environment of `ray start` to a folder with space"
        )


def nodes() -> list[Node]:
    """The nodes that are alive now, by name."""
    import ray

    found = [
        Node(
            each["NodeID"],
            f"{each['NodeManagerHostname']} ({each['NodeManagerAddress']})",
            {key: float(value) for key, value in each["Resources"].items()},
        )
        for each in ray.nodes()
        if each["Alive"]
    ]
    return sorted(found, key=lambda node: (node.name, node.id))


def growth() -> list[dict[str, float]]:
    """Resources of each kind of node that an autoscaler (v2) may still add."""
    from ray._private.state import state  # the only place where Ray tells it

    config = state.get_cluster_config()
    if config is None:
        return []
    groups = [group for group in config.node_group_configs if group.max_count]
    return [{key: float(value) for key, value in group.resources.items()} for group in groups]


def versions() -> dict[str, str]:
    """What has to be the same everywhere."""
    return {
        "Python": platform.python_version(),
        "Ray": metadata.version("ray"),
        "mer-search": f"{mer_search.__version__} (source {_source()})",
    }


def _source() -> str:
    """8 hex digits of this package's source, which no version number tells while it changes."""
    root, total = Path(mer_search.__file__).parent, hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        total.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return total.hexdigest()[:8]


def examine(store: str, mark: str, node: str) -> Answer:
    """Run on a node: reads what the driver wrote, and leaves an answer for the driver."""
    return Answer(versions(), _store_fault(store, mark, node), _cache_fault())


def _store_fault(store: str, mark: str, node: str) -> str:
    # A border: fsspec's filesystems raise what they like, and the node's name has to be told.
    try:
        fs, root = _store(store)
        if not fs.exists(f"{root}/{FOLDER}/{mark}"):
            return f"{store} is another one than the driver's: what the driver wrote is not in it"
        fs.pipe_file(f"{root}/{FOLDER}/{mark}-{node}", b"here")
    except Exception as fault:
        return f"{store} cannot be read and written ({_short(fault)})"
    return ""


def _cache_fault() -> str:
    root = Cache.default().root
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f"{uuid4().hex}.part"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as fault:
        return f"{root} cannot be written ({_short(fault)})"
    return ""


class _visible:
    """The driver's mark in the store while the nodes look for it; removes the answers too."""

    def __init__(self, store: str, mark: str) -> None:
        self.fs, root = _store(store)
        self.folder, self.mark = f"{root}/{FOLDER}", mark

    def __enter__(self) -> None:
        self.fs.makedirs(self.folder, exist_ok=True)
        self.fs.pipe_file(f"{self.folder}/{self.mark}", b"driver")

    def __exit__(self, *_: object) -> None:
        self.fs.invalidate_cache()
        for path in self.fs.ls(self.folder, detail=False):
            if self.mark in str(path):
                self.fs.rm_file(str(path))


def _store(store: str) -> tuple[Any, str]:
    fs, root = fsspec.core.url_to_fs(store)
    return fs, str(root).rstrip("/")


def _ask(there: Sequence[Node], store: str, mark: str) -> list[Answer | str]:
    """One task on each node; a text where it could not be run."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=1)(examine)
    waiting = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote(store, mark, node.id)
        for node in there
    ]
    done, _ = ray.wait(waiting, num_returns=max(1, len(waiting)), timeout=PATIENCE) if waiting else ([], [])
    return [_answer(each) if each in done else f"no answer within {PATIENCE:.0f} s" for each in waiting]


def _answer(reference: Any) -> Answer | str:
    import ray

    # A border: an import that fails there arrives as any class at all.
    try:
        found: Answer = ray.get(reference)
    except Exception as fault:
        return _short(fault)
    return found


def _short(fault: BaseException) -> str:
    """The last line, where Ray and botocore put the cause."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return f"{type(fault).__name__}: {lines[-1]}" if lines else type(fault).__name__
