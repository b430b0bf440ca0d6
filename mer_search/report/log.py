"""A trial's held-out predictions as a log in the MEGC format."""

from __future__ import annotations

from typing import Literal

from mer_search.loso.ledger import Ledger
from mer_search.loso.megc_log import LoggedClip, write_log
from mer_search.loso.result import choose, read_results


def export_log(ledger: Ledger, trial: int | Literal["best"]) -> str:
    """The text of the log; classes are numbered from 0 in the search's order.

    Raises:
        InputError: no such trial, or one that lacks folds.
    """
    result = choose(read_results(ledger), trial, ledger.search()["evaluation"]["objective"])
    protocol = result.protocol
    clips = zip(protocol.keys, protocol.label, result.probs.argmax(1), strict=True)
    return write_log(
        LoggedClip(dataset, subject, name, int(label), int(guess))
        for (dataset, subject, name), label, guess in (
            (key.split("/", 2), label, guess) for key, label, guess in clips
        )
    )
