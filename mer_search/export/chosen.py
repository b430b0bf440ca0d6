"""What is exported: a finished trial of a stored search, what it is worth, the clips it saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mer_search import space_file
from mer_search.config import NUMERICS_VERSION, Trial
from mer_search.datasets import DataSet, read
from mer_search.errors import InputError
from mer_search.experiment import Experiment
from mer_search.features import plan
from mer_search.loso import estimates
from mer_search.loso.ledger import Ledger
from mer_search.loso.nested import Nested, read_nested
from mer_search.loso.result import LosoResult, choose, read_results, subject_counts


@dataclass(frozen=True)
class Chosen:
    """The trial that is exported.

    Attributes:
        search: the search's name.
        experiment: its settings.
        record: what was written beside them at the first launch: digests, versions, counts.
        result: the trial with its held-out predictions.
        scores: what they are worth, as settings.json keeps it.
    """

    search: str
    experiment: Experiment
    record: dict[str, Any]
    result: LosoResult
    scores: dict[str, Any]

    @property
    def trial(self) -> Trial:
        return self.experiment.trial(self.result.record.params)


def read_chosen(ledger: Ledger, trial: int | Literal["best"]) -> Chosen:
    """The trial asked for, or the best by the search's objective; of equals the first.

    Raises:
        InputError: no such search or trial, or a trial without all folds.
    """
    if not ledger.exists():
        raise InputError(ledger.store, f"holds no search {ledger.name!r}; see `mer-search list`")
    file, results = ledger.search(), read_results(ledger)
    record = file.pop("record", {})
    file.pop("format", None)
    experiment = space_file.from_dict(file, where=f"{ledger.root}/search.yaml")
    objective = experiment.evaluation.objective
    result = choose(results, trial, objective)
    scores = _scores(results, result, objective)
    scores["nested"] = _nested(read_nested(ledger, objective))
    return Chosen(ledger.name, experiment, record, result, scores)


def _nested(found: Nested | None) -> dict[str, Any] | None:
    """What the card says of a nested evaluation; None until all its groups are predicted."""
    if found is None or found.interval is None:
        return None
    interval = found.interval
    return {**found.scores, "interval": list(interval.interval), "level": interval.level,
            "outer": found.kind, "groups": len(found.groups)}  # fmt: skip


def _scores(results: Sequence[LosoResult], result: LosoResult, objective: str) -> dict[str, Any]:
    """The trial's own scores, and the corrected ones of the search's best trial."""
    finished = [each for each in results if each.complete]
    numbers, counts = [each.record.number for each in finished], subject_counts(finished)
    best = estimates.correct(counts, objective=objective, trials=len(results))
    own = estimates.own_score(counts, numbers.index(result.record.number), objective=objective)
    return {
        "objective": objective,
        "folds": len(result.protocol.folds),
        "selected": {**result.scores, "interval": list(own.interval)},
        "corrected": {
            **best.corrected, "interval": list(best.interval), "level": best.level,
            "trial": numbers[best.trial], "method": best.method, "finished": best.finished,
            "trials": len(results), "caveats": list(best.caveats),
        },
    }  # fmt: skip


def clips_of(chosen: Chosen, dataset: DataSet | None = None) -> DataSet:
    """The clips that the search predicted; None reads them from where it was launched.

    Raises:
        InputError: data, weights or numerics that are not those of the search.
        WeightsMissing: the face network's weights are not on this machine.
    """
    data = chosen.experiment.data
    if dataset is None:
        dataset = read(data.reader, data.root, classes=data.classes, on_fault=data.on_fault)
    if faults := list(_changes(chosen, dataset)):
        raise InputError(f"search {chosen.search}", faults)
    keys = set(chosen.result.protocol.keys)
    return replace(dataset, clips=tuple(clip for clip in dataset.clips if clip.key in keys))


def _changes(chosen: Chosen, dataset: DataSet) -> Iterator[str]:
    """What differs from the first launch: the stored scores would not be this model's."""
    known, digest = str(chosen.record.get("data", "")), dataset.digest
    if digest != known:
        root = chosen.experiment.data.root
        yield (
            f"the data at {root} changed since: digest {digest[:16]}, was {known[:16] or 'none'}; "
            "restore it, or run a new search on it"
        )
    numerics = chosen.record.get("numerics", NUMERICS_VERSION)
    if numerics != NUMERICS_VERSION:
        yield (
            f"it was run with numerics version {numerics}, this mer-search has "
            f"{NUMERICS_VERSION}; use the version that ran it"
        )
    backbone = chosen.trial.features.backbone
    before, here = chosen.record.get("weights", {}).get(backbone.name), plan.identity(backbone)
    # A search over pretrained and random weights keeps one of both under a network's name.
    if before and "random" not in (before, here) and before != here:
        yield (
            f"it was run with weights of {backbone.name} of SHA-256 {before}, here is {here}; "
            f"bring that file and run `mer-search weights import {backbone.name} FILE`"
        )
