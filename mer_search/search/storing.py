"""What a store that cannot be written does to a search: it ends clearly and loses nothing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mer_search.errors import MerSearchError
from mer_search.loso.ledger import Ledger

CURES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EROFS: "make it writable",
    errno.EACCES: "give yourself the right to write there",
    errno.EPERM: "give yourself the right to write there",
    errno.EIO: "look after the disk",
}


class StoreFault(MerSearchError):
    """The store cannot be written; what is in it is whole."""


def sentence(place: str, fault: OSError) -> str:
    """Rule, value and cure."""
    cure = CURES.get(fault.errno or 0, "mend it")
    told = fault.strerror or str(fault)
    return (
        f"{place}: the store cannot be written ({told}); {cure} and launch again: every finished "
        "block is kept"
    )


@contextmanager
def writing(ledger: Ledger) -> Iterator[None]:
    """Turns what the system says about the store into a StoreFault; anything else passes."""
    try:
        yield
    except OSError as fault:
        here = str(fault.filename or ledger.root).startswith(ledger.root.rsplit("/", 1)[0])
        if fault.errno not in CURES or not here:
            raise
        raise StoreFault(sentence(ledger.root, fault)) from fault
