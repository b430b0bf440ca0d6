"""What a nested evaluation predicted: the estimate of the whole procedure, not of one trial.

Each outer group is predicted by the winner of a search that never saw its subjects. Read from the
ledger; see `mer_search.search.nested` for how it gets there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mer_search.errors import DamagedRecord
from mer_search.loso.estimates import Score, own_score
from mer_search.loso.folds import Subject
from mer_search.loso.ledger import FoldBlock, Ledger, TrialRecord
from mer_search.loso.result import (
    LosoResult,
    Probs,
    Protocol,
    pooled,
    read_results,
    scores_of,
    subject_counts,
)

METHOD = (
    "nested: the whole search once per outer group on the other subjects, its winner trained on "
    "all of them and scored on the group; counts of all groups pooled, then scored; interval: "
    "point +- t(S - 1) x delete-one-subject jackknife error"
)


@dataclass(frozen=True)
class OuterGroup:
    """One outer group and the search on the other subjects.

    Attributes:
        trials, finished: of the inner search, so far.
        winner: the best of them so far; None without any.
        block: the winner's predictions for the group; None where they are still to come.
    """

    number: int
    subjects: tuple[Subject, ...]
    trials: int
    finished: int
    winner: TrialRecord | None
    selected: float | None
    block: FoldBlock | None

    def as_json(self) -> dict[str, Any]:
        return {
            "group": self.number,
            "subjects": ["/".join(subject) for subject in self.subjects],
            "trials": self.trials,
            "finished": self.finished,
            "winner": self.winner.number if self.winner else None,
            "params": self.winner.params if self.winner else None,
            "selected": self.selected,
            "scored": self.block is not None,
        }


@dataclass(frozen=True)
class Nested:
    """A nested evaluation, whole or on its way.

    Attributes:
        kind: of the outer groups, `group-5` or `loso`.
    """

    kind: str
    objective: str
    protocol: Protocol
    groups: tuple[OuterGroup, ...]

    @property
    def scored(self) -> int:
        """Groups that are predicted."""
        return sum(group.block is not None for group in self.groups)

    @property
    def complete(self) -> bool:
        return self.scored == len(self.groups)

    @cached_property
    def probs(self) -> Probs:
        """Probabilities [N,C] in the protocol's order; NaN for groups to come."""
        blocks = {each.number: each.block for each in self.groups if each.block is not None}
        return pooled(blocks, self.protocol.keys, len(self.protocol.classes))

    @cached_property
    def scores(self) -> dict[str, float]:
        """Pooled uf1, uar and accuracy; empty until every group is predicted."""
        return scores_of(self.probs, self.protocol.label) if self.complete else {}

    @cached_property
    def interval(self) -> Score | None:
        """The objective with its interval; None until every group is predicted."""
        if not self.complete:
            return None
        record = TrialRecord(0, "COMPLETE", {}, {})
        blocks = {each.number: each.block for each in self.groups if each.block is not None}
        counts = subject_counts([LosoResult(record, blocks, self.protocol)])
        return own_score(counts, 0, objective=self.objective)

    def as_json(self) -> dict[str, Any]:
        """Scores, interval and method, or None in their places while groups are missing."""
        found = self.interval
        return {
            **{name: self.scores.get(name) for name in ("uf1", "uar", "accuracy")},
            "interval": list(found.interval) if found else None,
            "level": found.level if found else None,
            "method": METHOD,
            "outer": self.kind,
            "groups_scored": self.scored,
            "groups": [group.as_json() for group in self.groups],
        }


def read_nested(ledger: Ledger, objective: str) -> Nested | None:
    """The nested evaluation of a search; None where none was begun.

    Raises:
        DamagedRecord: the record of the outer groups is unreadable.
    """
    record = ledger.outer()
    if record is None:
        return None
    protocol = Protocol.from_json(record)
    groups = tuple(
        _group(ledger.inner(number), number, subjects, objective)
        for number, subjects in enumerate(protocol.folds.subjects)
    )
    try:
        kind = str(record["kind"])
    except KeyError as fault:
        raise DamagedRecord(f"{ledger.root}/outer/folds.json: kind is missing") from fault
    return Nested(kind, objective, protocol, groups)


def _group(inner: Ledger, number: int, subjects: tuple[Subject, ...], objective: str) -> OuterGroup:
    if not inner.exists():
        return OuterGroup(number, subjects, 0, 0, None, None, None)
    results = read_results(inner)
    finished = [result for result in results if result.complete]
    if not finished:
        return OuterGroup(number, subjects, len(results), 0, None, None, None)
    best = max(finished, key=lambda result: result.scores[objective])
    selected, block = best.scores[objective], inner.held_out(best.record.number)
    return OuterGroup(number, subjects, len(results), len(finished), best.record, selected, block)
