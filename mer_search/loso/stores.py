"""Which searches a store holds, for those who were given a name. Not for creating one."""

from __future__ import annotations

from mer_search.errors import InputError, did_you_mean
from mer_search.loso.ledger import Ledger, searches


def existing(store: str, name: str) -> Ledger:
    """The ledger of a search that exists. Raises InputError with the nearest name."""
    ledger = Ledger(store, name)
    if not ledger.exists():
        known = searches(store)
        cure = did_you_mean(name, known) if known else "the store is empty; launch a search first"
        raise InputError(store, f"holds no search {name!r}; {cure}")
    return ledger
