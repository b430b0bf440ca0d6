"""Trials that someone picked, and a published log, paired by clip. Not for choosing a winner.

Whole searches are compared in `compare`, by what their choices are worth.

Letters: N clips, M entrants, C classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mer_search.errors import InputError
from mer_search.loso.estimates import Score, compare_trials, holm, own_score
from mer_search.loso.ledger import Ledger
from mer_search.loso.megc_log import LoggedClip, read_log
from mer_search.loso.metrics import OBJECTIVES, confusion, count_by_subject
from mer_search.loso.result import Protocol, choose, read_results
from mer_search.report import words
from mer_search.report.compare import Pair

NOTE = (
    "These trials were given: where one was picked for its score, that score is a selected one "
    "(optimistic). Differences are paired by clip, errors are jackknifed over subjects."
)
Number = int | Literal["best"]
Row = tuple[str, NDArray[np.int64], int | None, float | None]
"""Name, predictions, folds, seconds."""


@dataclass(frozen=True)
class Entrant:
    """Predictions of one trial, or of a log, for the clips of the protocol.

    Attributes:
        predicted: class positions [N].
        folds, seconds: what the trial cost; None for a log.
    """

    name: str
    predicted: NDArray[np.int64]
    scores: dict[str, float]
    datasets: dict[str, dict[str, float]]
    interval: Score
    folds: int | None
    seconds: float | None

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            **self.scores,
            "interval": list(self.interval.interval),
            "level": self.interval.level,
            "datasets": self.datasets,
            "folds": self.folds,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class GivenComparison:
    """What `compare NAME:17 NAME:3 --log FILE` shows."""

    objective: str
    protocol: Protocol
    entrants: tuple[Entrant, ...]
    pairs: tuple[Pair, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "objective": self.objective,
            "clips": len(self.protocol.keys),
            "subjects": len(set(self.protocol.subject)),
            "entrants": [each.as_json() for each in self.entrants],
            "pairs": [pair.as_json() for pair in self.pairs],
            "note": NOTE,
        }


def number_in(name: str) -> int | None:
    """The trial that `NAME:17` names; None for a search's name."""
    found = re.fullmatch(r".+:(\d+)", name)
    return int(found[1]) if found else None


def compare(picked: Sequence[tuple[Ledger, Number]], log: Path | None = None) -> GivenComparison:
    """Compares trials, and a log with them.

    Raises:
        InputError: a trial that lacks folds, searches on other data, classes or clips, or a log
            of other clips or truths; all differences are listed.
    """
    chosen = {}  # a trial that is named twice, once as the best, is shown once
    for ledger, number in picked:
        objective = ledger.search()["evaluation"]["objective"]
        trial = choose(read_results(ledger), number, objective)
        chosen[ledger.root, trial.record.number] = (ledger, trial)
    results = list(chosen.values())
    (first, result), *others = results
    objective, protocol = first.search()["evaluation"]["objective"], result.protocol
    faults = [
        fault
        for other, found in others
        for fault in _differences((first, protocol), (other, found.protocol))
    ]
    if faults:
        raise InputError("compare", faults)
    rows: list[Row] = [(f"{ledger.name}:{found.record.number}", _ordered(found.protocol, protocol,
             found.probs.argmax(1)), found.folds_done, found.record.seconds)
            for ledger, found in results]  # fmt: skip
    if log:
        rows.append((log.name, predictions_of(log, protocol), None, None))
    return _compared(rows, protocol, objective)


def _compared(
    rows: Sequence[Row],
    protocol: Protocol,
    objective: str,
) -> GivenComparison:
    names = sorted(set(protocol.subject))
    subject = np.array([names.index(each) for each in protocol.subject])
    predicted = np.stack([guesses for _, guesses, _, _ in rows])
    counts = count_by_subject(predicted, protocol.label, subject, classes=len(protocol.classes))
    entrants = tuple(
        Entrant(name, guesses, _scores(guesses, protocol, None), _by_dataset(guesses, protocol),
                own_score(counts, row, objective=objective), folds, seconds)
        for row, (name, guesses, folds, seconds) in enumerate(rows)
    )  # fmt: skip
    pairs = list(combinations(range(len(rows)), 2))
    found = [compare_trials(counts, a, b, objective=objective) for a, b in pairs]
    corrected = holm([each.p for each in found])
    told = tuple(
        Pair(rows[a][0], rows[b][0], difference, float(p))
        for (a, b), difference, p in zip(pairs, found, corrected, strict=True)
    )
    return GivenComparison(objective, protocol, entrants, told)


def _scores(
    guesses: NDArray[np.int64], protocol: Protocol, dataset: str | None
) -> dict[str, float]:
    own = np.array([dataset in (None, name) for name, _ in protocol.subject])
    table = confusion(protocol.label[own], guesses[own], len(protocol.classes))
    return {name: float(score(table)) for name, score in OBJECTIVES.items()}


def _by_dataset(guesses: NDArray[np.int64], protocol: Protocol) -> dict[str, dict[str, float]]:
    names = sorted({dataset for dataset, _ in protocol.subject})
    return {name: _scores(guesses, protocol, name) for name in names}


def _ordered(own: Protocol, to: Protocol, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Values of one protocol's clips in another's order."""
    place = {key: row for row, key in enumerate(own.keys)}
    return values[[place[key] for key in to.keys]]


def _differences(first: tuple[Ledger, Protocol], other: tuple[Ledger, Protocol]) -> Iterator[str]:
    """Why trials of two searches cannot be paired."""
    (a, one), (b, two) = first, other
    both = f"{a.name} and {b.name}"
    digests = [str(each.search().get("record", {}).get("data", "")) for each in (a, b)]
    if digests[0] != digests[1]:
        yield f"{both}: data digests {digests[0][:16]} and {digests[1][:16]} differ"
    if one.classes != two.classes:
        yield f"{both}: classes differ ({', '.join(one.classes)} against {', '.join(two.classes)})"
    elif odd := sorted(set(one.keys) ^ set(two.keys)):
        yield f"{both}: {len(odd)} clips are in one of them only ({', '.join(odd[:5])})"


def predictions_of(log: Path, protocol: Protocol) -> NDArray[np.int64]:
    """A log's predictions as positions in our classes, in the protocol's order [N].

    Its class numbers are matched to our classes by the truth of the clips; subjects by their
    number where spelling differs (`sub01`, `01`, `1`).

    Raises:
        InputError: clips that only one side has, or truths that are not ours; all are told.
    """
    clips = {_name(each.dataset, each.subject, each.name): each for each in read_log(log)}
    ours = [_name(*key.split("/", 2)) for key in protocol.keys]
    faults = []
    for told, odd in (
        ("only in the log", set(clips) - set(ours)),
        ("missing in the log", set(ours) - set(clips)),
    ):
        if odd:
            names = ", ".join("/".join(map(str, each)) for each in sorted(odd, key=str)[:5])
            faults.append(f"{len(odd)} of {len(ours)} clips are {told} ({names})")
    if faults:
        faults[-1] += "; a comparison needs the same clips on both sides"
        raise InputError(log, faults)
    place = _classes(log, [clips[key] for key in ours], protocol)
    return np.array([place.get(clips[key].predicted, -1) for key in ours], np.int64)


def _name(dataset: str, subject: str, clip: str) -> tuple[str, str, str]:
    digits = re.search(r"(\d+)$", subject)
    return dataset.lower(), str(int(digits[1])) if digits else subject.lower(), clip.lower()


def _classes(log: Path, clips: Sequence[LoggedClip], protocol: Protocol) -> dict[int, int]:
    """The log's class numbers -> positions in our classes, by the truth of the same clips."""
    place: dict[int, int] = {}
    faults: dict[int, set[str]] = {}
    for clip, label in zip(clips, protocol.label.tolist(), strict=True):
        if place.setdefault(clip.truth, label) != label:
            faults.setdefault(clip.truth, {protocol.classes[place[clip.truth]]}).add(
                protocol.classes[label]
            )
    told = [f"class {number} of the log is {' and '.join(sorted(names))} here"
            for number, names in faults.items()]  # fmt: skip
    if len(set(place.values())) < len(place) and not told:
        told.append("two classes of the log are one class here")
    if unknown := sorted({clip.predicted for clip in clips} - set(place)):
        told.append(f"classes {unknown} are predicted but no clip belongs to them")
    if told:
        told[-1] += "; compare searches with the log's classes"
        raise InputError(log, told)
    return place


def render(found: GivenComparison) -> RenderableType:
    """A table of the entrants, and a sentence per pair."""
    table = Table(box=None, pad_edge=False)
    several = len({dataset for dataset, _ in found.protocol.subject}) > 1
    for column in ("trial", *words.NAMES.values(), "interval", "folds", "seconds"):
        table.add_column(column, justify="left" if column == "trial" else "right")
    for each in found.entrants:
        cost = [str(each.folds or "-"), "-" if each.seconds is None else f"{each.seconds:.0f}"]
        cells = [words.number(each.scores[name]) for name in words.NAMES]
        table.add_row(each.name, *cells, words.interval(each.interval.interval), *cost)
        for name, scores in each.datasets.items() if several else ():
            table.add_row(f"  {name}", *(words.number(scores[key]) for key in words.NAMES))
    many = f" (Holm, {len(found.pairs)} pairs)" if len(found.pairs) > 1 else ""
    lines = [f"{pair.a} against {pair.b}: {pair.words}, {words.p_value(pair.p)}{many}"
             for pair in found.pairs]  # fmt: skip
    head = (
        f"{len(found.protocol.keys)} clips of {len(set(found.protocol.subject))} subjects; "
        f"intervals (95%) of {words.NAMES[found.objective]}"
    )
    return Group(Text(head), table, *map(Text, lines), Text(NOTE))
