"""How one owner ships a data set: what `annotated` has to know of it. Not for reading anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mer_search.datasets import folders
from mer_search.datasets.spreadsheet import Form, Table


def same_folder(cells: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The clip's folder bears the clip's name."""
    return (name,)


@dataclass(frozen=True)
class Layout:
    """How one owner ships a data set.

    Attributes:
        dataset: short name in keys.
        form: the spreadsheet.
        emotions: what the annotators chose from, tidied.
        classes: the class map by default.
        folder: what the end of a clip's folder looks like, see `folders.find`.
        place: subject and folder name from a match of `folder`.
        expected: what to say when no such folder exists.
        subject: the subject's padded name from the row's cells.
        name: the clip's name from the row's cells, in one spelling.
        stands: the names that a clip's folder may have.
        version: the annotation's version.
        spellings: emotion as written by the owner, tidied -> our word.
        skip: folders not to look into.
    """

    dataset: str
    form: Form
    emotions: tuple[str, ...]
    classes: str
    folder: re.Pattern[str]
    place: Callable[[re.Match[str]], folders.Place]
    expected: str
    subject: Callable[[Mapping[str, str]], str]
    name: Callable[[Mapping[str, str]], str]
    version: Callable[[Table], str]
    stands: Callable[[Mapping[str, str], str], tuple[str, ...]] = same_folder
    spellings: Mapping[str, str] | None = None
    skip: frozenset[str] = frozenset()


def padded(cell: str, prefix: str, width: int) -> str:
    """`1`, `"01"` and `"sub01"` as `prefix` and a number of `width` digits; else the cell."""
    digits = re.fullmatch(r"[a-z]*[._ -]?0*(\d{1,9})", cell, re.IGNORECASE | re.ASCII)
    return f"{prefix}{int(digits[1]):0{width}d}" if digits else cell


def file_version(table: Table) -> str:
    """The `v2` or the date in the file's name; else the whole name."""
    stem = table.path.stem
    date = re.search(r"(20\d\d)-?(\d\d)-?(\d\d)", stem)
    if date:
        return "-".join(date.groups())
    version = re.search(r"(?:^|[^a-z])v(?:er)?[ _.]?(\d+)", stem, re.IGNORECASE)
    return f"v{version[1]}" if version else stem
