"""What has to hold on a cluster before the first trial: every fault at once, with node and cure.

A node needs Python, Ray, the libraries, the store, and a folder for its own copy of the features.
Data and weights are needed on the driver's machine only. Not for repairing anything.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from mer_search.search.nodes import Node, coming, fits, nodes, on_each, short

FOLDER = ".preflight"
CALLED = {"CPU": "cpu", "GPU": "gpu"}


@dataclass(frozen=True)
class Answer:
    """What a node found about itself.

    Attributes:
        versions: of Python, Ray and mer-search, the last with a digest of its source.
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
    fitting = [node for node in there if fits(needs, node.resources)]
    faults = []
    if not fitting and (address is None or not coming(needs)):
        faults.append(resource_fault(needs, there))
    if address is not None:
        faults += _faults_of_all(fitting or there, ledger.store)
    if faults:
        raise InputError("cluster", faults)


def resource_fault(needs: Mapping[str, float], there: Sequence[Node]) -> str:
    """The sentence for a trial that fits nowhere, now or later."""
    asked = " and ".join(f"{CALLED[name]} {amount:g}" for name, amount in needs.items() if amount)
    have = "; ".join(f"{node.name} has {_told(node.resources)}" for node in there)
    return (
        f"a trial asks for {asked} on one node, but {have}, and no autoscaler brings more; lower "
        "it with --set resources.cpu=.. or --set resources.gpu=.., or add a node that has it"
    )


def _told(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{CALLED[name]} {resources.get(name, 0.0):g}" for name in CALLED)


def _faults_of_all(there: Sequence[Node], store: str) -> list[str]:
    mark, mine = uuid4().hex, versions()
    faults: list[str] = []
    # A border: fsspec's filesystems raise what they like, and none of it is ours to read.
    try:
        with _visible(store, mark):
            answers = on_each(there, examine, store, mark)
        left = {node.id for node in nodes()}  # a node that went away meanwhile has no fault
        for node, (answer, why) in zip(there, answers, strict=True):
            if answer or node.id in left or len(there) == 1:
                faults += faults_of(node.name, answer, mine, why=why)
    except Exception as fault:
        faults.append(
            f"the driver's machine: the store {store} cannot be read and written ({short(fault)}); "
            "mount it, or set its credentials in the environment"
        )
    return faults


def faults_of(
    name: str, answer: Answer | None, mine: Mapping[str, str], *, why: str = ""
) -> Iterator[str]:
    """The sentences about one node; `why` tells why there is no answer."""
    if answer is None:
        yield (
            f"node {name} cannot run mer-search ({why}); install the same mer-search and its "
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
    # A border, as above: the node's name and the cure are told by the driver.
    try:
        fs, root = _store(store)
        if not fs.exists(f"{root}/{FOLDER}/{mark}"):
            return f"{store} is another one than the driver's: what the driver wrote is not in it"
        fs.pipe_file(f"{root}/{FOLDER}/{mark}-{node}", b"here")
    except Exception as fault:
        return f"{store} cannot be read and written ({short(fault)})"
    return ""


def _cache_fault() -> str:
    root = Cache.default().root
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f"{uuid4().hex}.part"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as fault:
        return f"{root} cannot be written ({short(fault)})"
    return ""


@contextmanager
def _visible(store: str, mark: str) -> Iterator[None]:
    """The driver's mark in the store while the nodes look for it; removes the answers too."""
    fs, root = _store(store)
    folder = f"{root}/{FOLDER}"
    fs.makedirs(folder, exist_ok=True)
    fs.pipe_file(f"{folder}/{mark}", b"driver")
    try:
        yield
    finally:
        fs.invalidate_cache()
        for path in fs.ls(folder, detail=False):
            if mark in str(path):
                fs.rm_file(str(path))


def _store(store: str) -> tuple[Any, str]:
    fs, root = fsspec.core.url_to_fs(store)
    return fs, str(root).rstrip("/")
