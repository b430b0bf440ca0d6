"""All that has to hold before the first trial: data, features, the same search as before.

Not for running trials.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import numpy as np

import mer_search
from mer_search import space_file
from mer_search.config import NUMERICS_VERSION, Backbone, Features
from mer_search.datasets import DataSet, read
from mer_search.errors import InputError, SearchDiffers
from mer_search.experiment import Experiment
from mer_search.features import plan
from mer_search.features.cache import Cache
from mer_search.features.extract import fill
from mer_search.features.keyframes import basis
from mer_search.features.records import FillReport
from mer_search.loso.folds import make_folds
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import Protocol, read_protocol

Progress = Callable[[int, int, float], None]
Filler = Callable[..., FillReport]
"""`features.extract.fill`, or what does the same on many machines."""
LIBRARIES = ("ray", "optuna", "torch", "numpy")


@dataclass(frozen=True)
class Prepared:
    """What trials are run on.

    Attributes:
        dataset: usable clips only.
        protocol: clips, classes, folds.
        filled: what extraction did now.
        digest: of the data, with the clips that could not be used.
        continued: the search existed before.
    """

    dataset: DataSet
    protocol: Protocol
    filled: FillReport
    digest: str
    continued: bool


def prepare(
    experiment: Experiment,
    ledger: Ledger,
    *,
    cache: Cache,
    device: str = "cpu",
    progress: Progress | None = None,
    clips: Collection[str] | None = None,
    filler: Filler = fill,
) -> Prepared:
    """Reads the data, fills the cache, and creates the search or checks that it is the same one.

    Args:
        filler: what fills the cache.
        clips: keys of the clips to search on; the others do not exist for this search.

    Raises:
        InputError: data that cannot be used, unless `data.on_fault` is skip.
        SearchDiffers: another search has this name; the differences are listed.
        WeightsMissing: a network's weights are not on this machine.
    """
    data = experiment.data
    dataset = read(data.reader, data.root, classes=data.classes, on_fault=data.on_fault)
    if clips is not None:
        kept = tuple(clip for clip in dataset.clips if clip.key in clips)
        dataset = replace(dataset, clips=kept)
    digest = dataset.digest  # of all clips: the same search whatever cannot be used later
    if ledger.exists():  # before extraction, which may take long
        check_same(experiment, ledger, digest)
    dataset, filled = _fill(experiment, dataset, cache, device, progress, filler)
    if ledger.exists():
        protocol = read_protocol(ledger)
        _check_clips(ledger, protocol, dataset)
        return Prepared(dataset, protocol, filled, digest, continued=True)
    protocol = _protocol(experiment, dataset)
    record = {"data": digest, **_record(experiment, dataset, filled)}
    ledger.create({**experiment.as_file(), "record": record}, protocol.to_json())
    return Prepared(dataset, protocol, filled, digest, continued=False)


def extract(
    experiment: Experiment, *, cache: Cache, device: str = "cpu", progress: Progress | None = None
) -> FillReport:
    """Fills the cache for a search without starting it; errors of `prepare`."""
    data = experiment.data
    dataset = read(data.reader, data.root, classes=data.classes, on_fault=data.on_fault)
    return _fill(experiment, dataset, cache, device, progress)[1]


def cache_keys(ledger: Ledger) -> set[str]:
    """Keys of the cache that a stored search needs; reads every frame of its data."""
    experiment, _ = stored(ledger)
    data = experiment.data
    dataset = read(data.reader, data.root, classes=data.classes, on_fault="skip")
    return plan.keys(dataset, experiment.feature_settings())


def stored(ledger: Ledger) -> tuple[Experiment, dict[str, Any]]:
    """The experiment of a stored search, and what was recorded beside it."""
    file = ledger.search()
    record = file.pop("record", {})
    file.pop("format", None)
    return space_file.from_dict(file, where=f"{ledger.root}/search.yaml"), record


def check_same(experiment: Experiment, ledger: Ledger, data_digest: str) -> None:
    """Raises SearchDiffers where a search of this name is another one."""
    before, record = stored(ledger)
    known = str(record.get("data", ""))
    faults = list(_differences(before.identity(known), experiment.identity(data_digest)))
    if record.get("numerics", NUMERICS_VERSION) != NUMERICS_VERSION:
        faults.append(
            f"numerics: was version {record['numerics']}, this mer-search has {NUMERICS_VERSION}"
        )
    if faults:
        faults[-1] += (
            "\nthe stored search is kept as it is; give the new one its own name with --name, or "
            "launch with the settings of the first launch"
        )
        raise SearchDiffers(ledger.root, faults)


def _differences(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}: was {old!r}, now {new!r}"


def _fill(
    experiment: Experiment,
    dataset: DataSet,
    cache: Cache,
    device: str,
    progress: Progress | None,
    filler: Filler = fill,
) -> tuple[DataSet, FillReport]:
    """The clips that have features, and the report of filling."""
    settings = experiment.feature_settings()
    report = filler(dataset, settings, cache=cache, device=device, progress=progress)
    if report.faults and experiment.data.on_fault == "refuse":
        faults = list(report.faults)
        faults[-1] += "\nmend these clips, or set data.on_fault: skip to go on without them"
        raise InputError(experiment.data.root, faults)
    if not report.faulty:
        return dataset, report
    usable = tuple(clip for clip in dataset.clips if clip.key not in set(report.faulty))
    return replace(dataset, clips=usable, faults=(*dataset.faults, *report.faults)), report


def _protocol(experiment: Experiment, dataset: DataSet) -> Protocol:
    label = np.array([dataset.classes.index(clip.label) for clip in dataset.clips], np.int64)
    folds = make_folds(
        tuple((clip.dataset, clip.subject) for clip in dataset.clips),
        label,
        protocol=experiment.evaluation.folds,
        blocks=experiment.search.racing.blocks,
        seed=experiment.search.seed,
    )
    return Protocol(tuple(clip.key for clip in dataset.clips), label, dataset.classes, folds)


def _check_clips(ledger: Ledger, protocol: Protocol, dataset: DataSet) -> None:
    """The stored folds speak of exactly the clips that can be used now."""
    odd = set(protocol.keys) ^ {clip.key for clip in dataset.clips}
    if odd:
        names = ", ".join(sorted(odd)[:5])
        raise SearchDiffers(
            ledger.root,
            f"{len(odd)} clips were usable at the first launch and are not now, or the reverse "
            f"({names}); use the machine settings of the first launch, or another --name",
        )


def random_weights(backbones: Iterable[Backbone]) -> list[str]:
    """Face networks whose weights were drawn: what is built on them says nothing of faces."""
    drawn = {b.name for b in backbones if b.weights == "random" and b.name != "patches"}
    return sorted(drawn)


def keyframe_bases(dataset: DataSet, settings: Iterable[Features]) -> dict[str, str]:
    """Keyframe method -> whether it rests on annotations ("annotated") or not ("spotted")."""
    onset = any(clip.onset is not None for clip in dataset.clips)
    apex = any(clip.apex is not None for clip in dataset.clips)
    methods = sorted({setting.keyframes.method for setting in settings})
    return {
        m: basis(m, boundaries=dataset.boundaries, onset_known=onset, apex_known=apex)
        for m in methods
    }


def _record(experiment: Experiment, dataset: DataSet, filled: FillReport) -> dict[str, Any]:
    """What is written beside the settings when a search is created."""
    settings = experiment.feature_settings()
    # Pretrained last: where a search has both, it is their file that has to be found again.
    backbones = sorted({setting.backbone for setting in settings}, key=lambda b: b.weights)[::-1]
    return {
        "reader": dataset.reader,
        "annotation": dataset.version,
        "boundaries": dataset.boundaries,
        "clips": len(dataset.clips),
        "subjects": len(dataset.subjects),
        "counts": dataset.counts,
        "corrections": list(dataset.corrections),
        "skipped": list(dataset.faults),
        "notes": list(filled.notes),
        "weights": {each.name: plan.identity(each) for each in backbones},
        "random_weights": random_weights(backbones),
        "keyframes": keyframe_bases(dataset, settings),
        "numerics": NUMERICS_VERSION,
        "versions": {
            "mer-search": mer_search.__version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in LIBRARIES},
        },
        "created": time.time(),
    }
