"""What can go wrong, as a small tree.

    MerSearchError            anything this package raises on purpose; exit code 1
    |-- InputError            the user's input is at fault: rule, value and cure; exit code 2
    |   `-- SearchDiffers     another search already has this name
    |-- WeightsMissing        a face network's weight file has to be brought; exit code 2
    |-- DamagedRecord         a stored record is unreadable; names the record, deletes nothing
    `-- SearchHeld            another driver is running this search

Nothing here prints or exits: `mer_search.cli` maps the tree to messages and exit codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MerSearchError(Exception):
    """Anything that mer-search raises on purpose."""

    exit_code = 1


class InputError(MerSearchError):
    """The user's input is at fault.

    Args:
        where: the file, folder or option that holds the faults.
        faults: one sentence per fault, each with rule, value and cure.
    """

    exit_code = 2

    def __init__(self, where: object, faults: str | Iterable[str]) -> None:
        self.where = str(where)
        self.faults = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__(self.where, self.faults)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"{self.where}: {self.faults[0]}"
        lines = "\n".join(f"  - {fault}" for fault in self.faults)
        return f"{self.where}: {len(self.faults)} faults\n{lines}"


class SearchDiffers(InputError):
    """A search of this name exists and what was asked for is not the same search."""


class WeightsMissing(InputError):
    """A face network's weights are not on this machine; says which file to bring."""


class DamagedRecord(MerSearchError):
    """A stored record cannot be read; the message names it. Nothing is deleted."""


class SearchHeld(MerSearchError):
    """Another driver is running this search; says who and since when."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`'; did you mean X?'` with the nearest of `known`, or all of them when none is near."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}"
