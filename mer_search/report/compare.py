"""One search, or several on the same data: who won, what it is worth, whether A is better than B.

A pure function of stored predictions: no data set, network or cluster is needed. Choices are
compared, not winners' scores, which would favour the larger search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from mer_search.errors import InputError
from mer_search.loso.estimates import Difference, Estimate, compare_searches, correct, holm
from mer_search.loso.ledger import Ledger
from mer_search.loso.metrics import SubjectCounts
from mer_search.report import contract
from mer_search.report.account import Search, check_exist, read


@dataclass(frozen=True)
class Pair:
    """What search `a`'s choice is worth minus what search `b`'s is.

    Attributes:
        p: of no difference, corrected for the number of pairs (Holm).
    """

    a: str
    b: str
    difference: Difference
    p: float

    @property
    def words(self) -> str:
        return self.difference.words(self.a, self.b, p=self.p)

    def as_json(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "difference": self.difference.value,
            "interval": list(self.difference.interval),
            "level": self.difference.level,
            "p": self.difference.p,
            "p_holm": self.p,
            "words": self.words,
        }


@dataclass(frozen=True)
class BestOfAll:
    """The best trial of several searches, corrected for the choice among all their trials."""

    search: str
    number: int
    estimate: Estimate
    trials: int

    def as_json(self) -> dict[str, Any]:
        worth = contract.worth(self.estimate, self.trials)
        return {"search": self.search, "number": self.number, **worth}


@dataclass(frozen=True)
class Comparison:
    """What `compare` shows.

    Attributes:
        pairs: every two searches that have finished trials; empty for one search.
        union: None for one search, or where none has a finished trial.
    """

    searches: tuple[Search, ...]
    pairs: tuple[Pair, ...] = ()
    union: BestOfAll | None = None

    def as_json(self) -> dict[str, Any]:
        """The document of one search; of several, `{"searches", "pairs", "union"}`."""
        documents = [contract.document(account) for account in self.searches]
        if len(documents) == 1:
            return documents[0]
        return {
            "searches": documents,
            "pairs": [pair.as_json() for pair in self.pairs],
            "union": self.union.as_json() if self.union else None,
        }


def compare(ledgers: Sequence[Ledger]) -> Comparison:
    """Reads the searches and compares them.

    Raises:
        InputError: no search, searches that do not exist, or searches on other data, classes,
            clips or objectives; all differences are listed.
    """
    if not ledgers:
        raise InputError("compare", "no search is named; give one or more names")
    check_exist(ledgers)
    accounts = tuple(map(read, ledgers))
    faults = [fault for other in accounts[1:] for fault in _differences(accounts[0], other)]
    if faults:
        faults[-1] += "; only searches on the same data can be compared: give them one at a time"
        raise InputError("compare", faults)
    if len(accounts) == 1:
        return Comparison(accounts)
    return Comparison(accounts, _pairs(accounts), _best_of_all(accounts))


def _differences(first: Search, other: Search) -> Iterator[str]:
    """Why two searches cannot be compared, one sentence each."""
    both = f"{first.name} and {other.name}"
    if first.data != other.data:
        yield f"{both}: data digests {first.data[:16]} and {other.data[:16]} differ"
    if first.objective != other.objective:
        yield f"{both}: objectives {first.objective} and {other.objective} differ"
    if first.protocol.classes != other.protocol.classes:
        named = (", ".join(each.protocol.classes) for each in (first, other))
        yield f"{both}: classes differ ({' against '.join(named)})"
        return
    label, others = (
        dict(zip(each.protocol.keys, each.protocol.label.tolist(), strict=True))
        for each in (first, other)
    )
    if odd := sorted(label.keys() ^ others.keys()):
        yield f"{both}: {len(odd)} clips are in one of them only ({', '.join(odd[:5])})"
    if odd := sorted(key for key in label.keys() & others.keys() if label[key] != others[key]):
        yield f"{both}: {len(odd)} clips have other labels ({', '.join(odd[:5])})"


def _pairs(accounts: Sequence[Search]) -> tuple[Pair, ...]:
    """Paired differences of the searches' choices, p values corrected for their number."""
    finished = [(each.name, each.counts) for each in accounts if each.counts]
    objective = accounts[0].objective
    found = [
        (a, b, compare_searches(first, second, objective=objective))
        for (a, first), (b, second) in combinations(finished, 2)
    ]
    corrected = holm([difference.p for _, _, difference in found])
    return tuple(Pair(*row, float(p)) for row, p in zip(found, corrected, strict=True))


def _best_of_all(accounts: Sequence[Search]) -> BestOfAll | None:
    """The best of the union of all trials, corrected as one search."""
    owners = [(each.name, result.record.number) for each in accounts for result in each.finished]
    counts = [each.counts for each in accounts if each.counts]
    if not counts:
        return None
    pooled = SubjectCounts(
        np.concatenate([each.hits for each in counts]),
        np.concatenate([each.predicted for each in counts]),
        counts[0].true,
    )
    trials = sum(len(each.results) for each in accounts)
    estimate = correct(pooled, objective=accounts[0].objective, trials=trials)
    return BestOfAll(*owners[estimate.trial], estimate, trials)
