"""Searches that look like real ones, and what a page of them holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mer_search.loso.ledger import Ledger

Make = Callable[..., Ledger]


@pytest.fixture
def with_record(invented_search: Make) -> Make:
    """A search whose record differs from `invented_search`'s as told."""

    def make(name: str, **record: Any) -> Ledger:
        ledger = invented_search(name)
        file = ledger.search()
        ledger.create({**file, "record": {**file["record"], **record}}, ledger.folds())
        return ledger

    return make


@pytest.fixture
def of_other_data(with_record: Make) -> Make:
    """A search whose record or folds differ from `invented_search`'s as told."""

    def make(name: str, *, data: str = "1" * 64, **folds: Any) -> Ledger:
        ledger = with_record(name, data=data)
        ledger.create(ledger.search(), {**ledger.folds(), **folds})
        return ledger

    return make


@pytest.fixture
def hostile(invented_search: Make) -> Ledger:
    """A search whose settings and reasons are markup."""
    ledger = invented_search(states=("COMPLETE", "COMPLETE", "FAILED"))
    for number in range(3):
        trial = ledger.trial(number)
        params = {**trial.params, "model.<img src=x onerror=boom()>": f"</script><b>{number}"}
        reason = "<script>boom()</script> [bold]" if trial.reason else ""
        ledger.write_trial(replace(trial, params=params, reason=reason))
    return ledger
