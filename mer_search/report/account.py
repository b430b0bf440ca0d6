"""What one search has found: its trials, its winner, and what the winner is worth.

Everything here is a function of stored predictions. Not for showing it: see `table` and `page`.

Letters: N clips, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_search.errors import InputError, did_you_mean
from mer_search.loso.confirmed import Confirmed, confirmed
from mer_search.loso.estimates import Estimate, correct
from mer_search.loso.ledger import STATES, Ledger, searches
from mer_search.loso.metrics import (
    OBJECTIVES,
    SubjectCounts,
    chance_uf1,
    confusion,
)
from mer_search.loso.result import (
    LosoResult,
    Protocol,
    read_protocol,
    read_result,
    subject_counts,
)


@dataclass(frozen=True)
class Search:
    """One search, read from its ledger.

    Attributes:
        file: the content of search.yaml.
        results: every trial, by number.
        counts: of the finished trials, in their order; None without any.
        estimate: what the best of them is worth; None without any.
        confirmed: the best trials with fresh seeds, where `search.confirm` asked for them.
    """

    name: str
    file: dict[str, Any]
    protocol: Protocol
    results: tuple[LosoResult, ...]
    counts: SubjectCounts | None
    estimate: Estimate | None
    confirmed: tuple[Confirmed, ...] = ()

    @property
    def objective(self) -> str:
        return str(self.file["evaluation"]["objective"])

    @property
    def record(self) -> dict[str, Any]:
        """What was written beside the settings at the first launch: digests, versions."""
        return dict(self.file.get("record", {}))

    @property
    def data(self) -> str:
        """Digest of the data set's content."""
        return str(self.record.get("data", ""))

    @property
    def folds(self) -> int:
        return len(self.protocol.folds)

    @cached_property
    def finished(self) -> tuple[LosoResult, ...]:
        """COMPLETE trials with all folds readable: only these are ranked."""
        return tuple(result for result in self.results if result.complete)

    @property
    def best(self) -> LosoResult | None:
        """The best finished trial by the objective, the earliest of equals."""
        return self.finished[self.estimate.trial] if self.estimate else None

    @cached_property
    def states(self) -> dict[str, int]:
        """Trials by state."""
        found = [result.record.state for result in self.results]
        return {state: found.count(state) for state in STATES}

    @property
    def damaged(self) -> tuple[str, ...]:
        """A sentence for each block that cannot be read."""
        return tuple(sentence for result in self.results for sentence in result.damaged)

    @cached_property
    def ranked(self) -> tuple[LosoResult, ...]:
        """Finished trials, best first; then the others, those with most folds first."""
        ends = set(map(id, self.finished))

        def place(result: LosoResult) -> tuple[bool, int, float, int]:
            whole, score = id(result) in ends, result.scores.get(self.objective, -1.0)
            return (not whole, 0 if whole else -result.folds_done, -score, result.record.number)

        return tuple(sorted(self.results, key=place))

    def confusion(self) -> NDArray[np.int64]:
        """The winner's pooled counts [C, C], truth by row; zeros without a winner."""
        classes = len(self.protocol.classes)
        if self.best is None:
            return np.zeros((classes, classes), np.int64)
        return confusion(self.protocol.label, self.best.probs.argmax(1), classes)

    @cached_property
    def chances(self) -> dict[str, float]:
        """Scores of guesses with the winner's share of each class; empty without a winner."""
        if self.best is None:
            return {}
        counts = self.confusion()
        true, guessed = (counts.sum(axis) / counts.sum() for axis in (1, 0))
        return {
            "uf1": chance_uf1(true, guessed),
            "uar": float(guessed[true > 0].sum() / len(true)),
            "accuracy": float(true @ guessed),
        }

    @cached_property
    def majority(self) -> tuple[str, dict[str, float]]:
        """The most frequent class, and the scores of always answering it."""
        shares = np.bincount(self.protocol.label, minlength=len(self.protocol.classes))
        always = np.full_like(self.protocol.label, shares.argmax())
        counts = confusion(self.protocol.label, always, len(shares))
        scores = {name: float(score(counts)) for name, score in OBJECTIVES.items()}
        return self.protocol.classes[int(shares.argmax())], scores


def read(ledger: Ledger) -> Search:
    """Reads all predictions of a search.

    Raises:
        InputError: there is no such search.
        DamagedRecord: search.yaml or folds.json is unreadable.
    """
    check_exist([ledger])
    file, protocol = ledger.search(), read_protocol(ledger)
    results = tuple(read_result(ledger, record, protocol) for record in ledger.trials())
    finished = [result for result in results if result.complete]
    counts = subject_counts(finished) if finished else None
    objective = file["evaluation"]["objective"]
    estimate = correct(counts, objective=objective, trials=len(results)) if counts else None
    again = confirmed(ledger, results, objective)
    return Search(ledger.name, file, protocol, results, counts, estimate, again)


def check_exist(ledgers: Iterable[Ledger]) -> None:
    """Raises InputError naming every search that does not exist, with the nearest name."""
    missing = [ledger for ledger in ledgers if not ledger.exists()]
    if not missing:
        return
    faults = []
    for ledger in missing:
        known = searches(ledger.store)
        cure = did_you_mean(ledger.name, known) if known else "it is empty; launch a search first"
        faults.append(f"holds no search {ledger.name!r}; {cure}")
    raise InputError(missing[0].store, faults)
