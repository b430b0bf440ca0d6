"""What a search predicted, read back from its ledger: the border to tracking, report and export.

Everything shown to a user is a function of these records. Numpy only, nothing is decided here.

Letters: N clips, C classes, n clips of one block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mer_search.errors import DamagedRecord, InputError
from mer_search.loso import metrics
from mer_search.loso.folds import Folds, Subject
from mer_search.loso.ledger import FoldBlock, Ledger, TrialRecord

Probs = NDArray[np.float32]


@dataclass(frozen=True)
class Protocol:
    """What all trials of a search share: clips, their classes, and the folds over them.

    Attributes:
        keys: `dataset/subject/name` of each clip [N].
        label: class positions in `classes` [N], int64.
        classes: class names [C].
        folds: which clips each fold holds out, in racing order.
    """

    keys: tuple[str, ...]
    label: NDArray[np.int64]
    classes: tuple[str, ...]
    folds: Folds

    @property
    def subject(self) -> tuple[Subject, ...]:
        """(dataset, subject) of each clip [N]."""
        return subjects_of(self.keys)

    def to_json(self) -> dict[str, Any]:
        """The content of folds.json."""
        clips = {key: self.classes[c] for key, c in zip(self.keys, self.label, strict=True)}
        return {**self.folds.to_json(), "classes": list(self.classes), "clips": clips}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Protocol:
        """Reads `to_json` back. Raises DamagedRecord."""
        try:
            classes, clips = tuple(record["classes"]), dict(record["clips"])
            label = np.array([classes.index(name) for name in clips.values()], np.int64)
        except (KeyError, TypeError, ValueError) as fault:
            raise DamagedRecord(f"folds.json: classes or clips unreadable ({fault!r})") from fault
        folds = Folds.from_json(record, subjects_of(clips))
        return cls(tuple(clips), label, classes, folds)


def subjects_of(keys: Mapping[str, Any] | tuple[str, ...]) -> tuple[Subject, ...]:
    """(dataset, subject) of each key `dataset/subject/name`."""
    return tuple((d, s) for d, s, _ in (key.split("/", 2) for key in keys))


@dataclass(frozen=True)
class LosoResult:
    """What one trial has predicted so far.

    Attributes:
        record: its trial.json.
        blocks: finished blocks by index.
        protocol: of the search.
        damaged: a sentence for each unreadable block.
    """

    record: TrialRecord
    blocks: dict[int, FoldBlock]
    protocol: Protocol
    damaged: tuple[str, ...] = ()

    @property
    def folds_done(self) -> int:
        bounds = self.protocol.folds.blocks
        return sum(bounds[index][1] - bounds[index][0] for index in self.blocks)

    @property
    def complete(self) -> bool:
        """All folds done and the trial COMPLETE: only such a trial may win."""
        done = self.folds_done == len(self.protocol.folds)
        return done and self.record.state == "COMPLETE"

    @cached_property
    def probs(self) -> Probs:
        """Probabilities [N,C] in the order of the protocol's keys, NaN where none yet."""
        return pooled(self.blocks, self.protocol.keys, len(self.protocol.classes))

    @cached_property
    def scores(self) -> dict[str, float]:
        """Pooled uf1, uar, accuracy over the clips predicted so far; empty without any."""
        return scores_of(self.probs, self.protocol.label) if self.blocks else {}

    def curve(self) -> list[tuple[int, dict[str, float], float]]:
        """(folds done, pooled scores, seconds since the epoch) after each block of the prefix."""
        points, bounds = [], self.protocol.folds.blocks
        for index in range(len(bounds)):
            if index not in self.blocks:
                break
            prefix = {i: self.blocks[i] for i in range(index + 1)}
            probs = pooled(prefix, self.protocol.keys, len(self.protocol.classes))
            scores = scores_of(probs, self.protocol.label)
            points.append((bounds[index][1], scores, max(b.finished for b in prefix.values())))
        return points


@dataclass(frozen=True)
class Standing:
    """What is kept in memory of each of ten thousand trials: no block, no map.

    Attributes:
        predicted: class of each clip [N] where all folds are done, else nothing.
    """

    record: TrialRecord
    folds_done: int
    complete: bool
    scores: dict[str, float]
    predicted: NDArray[np.int8]

    @classmethod
    def of(cls, result: LosoResult) -> Standing:
        """A trial without its blocks."""
        classes = result.probs.argmax(1) if result.complete else np.empty(0)
        return cls(result.record, result.folds_done, result.complete, result.scores,
                   classes.astype(np.int8))  # fmt: skip


def read_protocol(ledger: Ledger) -> Protocol:
    """The protocol of a stored search. Raises DamagedRecord, or FileNotFoundError."""
    return Protocol.from_json(ledger.folds())


def read_result(ledger: Ledger, record: TrialRecord, protocol: Protocol) -> LosoResult:
    """One trial with its finished blocks; those that cannot be used are named in `damaged`."""
    blocks, damaged = ledger.blocks(record.number)
    usable: dict[int, FoldBlock] = {}
    for index, block in blocks.items():
        if fault := _foreign(index, block, protocol):
            damaged.append(f"trial {record.number}, {fault}")
        else:
            usable[index] = block
    return LosoResult(record, usable, protocol, tuple(damaged))


def read_results(ledger: Ledger) -> list[LosoResult]:
    """All trials of a search by number."""
    protocol = read_protocol(ledger)
    return [read_result(ledger, record, protocol) for record in ledger.trials()]


def _foreign(index: int, block: FoldBlock, protocol: Protocol) -> str:
    """Why a stored block is not this protocol's block `index`; empty when it is."""
    bounds = protocol.folds.blocks
    if index >= len(bounds):
        return f"block {index}: the search has {len(bounds)} blocks"
    held = protocol.folds.held_out[slice(*bounds[index])].any(0)
    expected = {protocol.keys[clip] for clip in np.flatnonzero(held)}
    if set(block.keys) != expected or len(block.keys) != len(expected):
        return f"block {index}: holds {len(block.keys)} clips that are not this block's"
    if block.probs.shape != (len(block.keys), len(protocol.classes)):
        return f"block {index}: {block.probs.shape} probabilities of {len(block.keys)} clips"
    return "" if np.isfinite(block.probs).all() else f"block {index}: not every number is finite"


def pooled(blocks: Mapping[int, FoldBlock], keys: tuple[str, ...], classes: int) -> Probs:
    """Probabilities [N,C] in the order of `keys`; NaN where no block has predicted the clip.

    Raises:
        DamagedRecord: a block of other clips, or of another number of classes.
    """
    place = {key: row for row, key in enumerate(keys)}
    probs = np.full((len(keys), classes), np.nan, np.float32)
    for index, block in blocks.items():
        strange = [key for key in block.keys if key not in place]
        if strange or block.probs.shape != (len(block.keys), classes):
            raise DamagedRecord(
                f"block {index} holds {block.probs.shape} probabilities and {len(strange)} clips "
                "of another data set; it does not belong to this search"
            )
        probs[[place[key] for key in block.keys]] = block.probs
    return probs


def scores_of(probs: Probs, label: NDArray[np.int64]) -> dict[str, float]:
    """Pooled uf1, uar and accuracy over the clips that have been predicted."""
    known = ~np.isnan(probs[:, 0])
    return metrics.scores(probs[known], label[known])


def subject_counts(finished: Sequence[LosoResult]) -> metrics.SubjectCounts:
    """Counts per subject of trials with all folds; clips in the order of their keys, so that
    searches over the same clips line up whatever the order of their folds."""
    return counts_of(finished[0].protocol, np.stack([each.probs.argmax(1) for each in finished]))


def counts_of(protocol: Protocol, predicted: NDArray[np.integer[Any]]) -> metrics.SubjectCounts:
    """The same from the predicted classes of M trials [M,N]."""
    order = np.argsort(np.array(protocol.keys))
    place = {name: index for index, name in enumerate(sorted(set(protocol.subject)))}
    subject = np.array([place[each] for each in protocol.subject])
    return metrics.count_by_subject(
        predicted[:, order], protocol.label[order], subject[order], classes=len(protocol.classes)
    )


def choose(
    results: Sequence[LosoResult], trial: int | Literal["best"], objective: str
) -> LosoResult:
    """A trial with all folds: the one asked for, or the best by the objective (first of equals).

    Raises:
        InputError: there is no such trial, or it lacks folds.
    """
    finished = [result for result in results if result.complete]
    if trial == "best":
        if not finished:
            raise InputError(
                "--trial",
                f"none of the {len(results)} trials has all folds yet; let the search go on with "
                "`mer-search launch`",
            )
        return max(finished, key=lambda result: result.scores[objective])
    for result in results:
        if result.record.number == trial:
            if not result.complete:
                raise InputError(
                    "--trial",
                    f"trial {trial} is {result.record.state} with {result.folds_done} of "
                    f"{len(result.protocol.folds)} folds; choose one that is COMPLETE",
                )
            return result
    last = len(results) - 1
    raise InputError("--trial", f"there is no trial {trial}; numbers go from 0 to {last}")
