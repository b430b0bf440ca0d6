"""An owner's spreadsheet: finding it, its header wherever it stands, its cells by column name.

Columns are known by name and synonyms, never by position. Not for what cells mean: see `annotated`.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import pandas as pd

from mer_search.errors import InputError, did_you_mean

DEPTH = 2
"""How many folders down a spreadsheet is looked for; frames stand deeper and are many."""
HEADER_ROWS = 40
"""How far down the header is looked for; SAMM's stands below a page of explanations."""
SUFFIXES = (".xlsx", ".csv")


@dataclass(frozen=True)
class Column:
    """A column in the owner's spelling, and how other versions spell it."""

    name: str
    synonyms: tuple[str, ...] = ()
    needed: bool = True


@dataclass(frozen=True)
class Form:
    """What an owner's spreadsheet looks like.

    Attributes:
        title: the data set's name in messages.
        files: the owner's file names, the usual one first.
        columns: our field -> the owner's column.
        prefix: how the owner's file names begin, without case and signs; tells it from others.
        sheet: which sheet to look at first.
    """

    title: str
    files: tuple[str, ...]
    columns: Mapping[str, Column]
    prefix: str
    sheet: str = ""

    @cached_property
    def known(self) -> dict[str, str]:
        """Squeezed spelling -> our field."""
        return {
            squeeze(name): field
            for field, column in self.columns.items()
            for name in (column.name, *column.synonyms)
        }


@dataclass(frozen=True)
class Table:
    """A spreadsheet that was read: (row number as a spreadsheet program counts, field -> text)."""

    path: Path
    fields: frozenset[str]
    rows: tuple[tuple[int, Mapping[str, str]], ...]


def read(path: Path, form: Form) -> Table:
    """The table in a spreadsheet; rows whose known columns are all empty do not count.

    Raises:
        InputError: no spreadsheet in truth, or columns missing or doubled, all at once.
    """
    cells, header = table_in(path, form)
    check_columns(path, cells[header], form)
    fields = [field_of(cell, form) for cell in cells[header]]
    rows = []
    for number, row in enumerate(cells[header + 1 :], start=header + 2):
        known = {field: cell for field, cell in zip(fields, row, strict=False) if field}
        if any(known.values()):
            rows.append((number, {**dict.fromkeys(form.columns, ""), **known}))
    return Table(path, frozenset(field for field in fields if field), tuple(rows))


def find(root: Path, form: Form) -> Path:
    """The only spreadsheet at, below or beside `root`.

    Raises:
        InputError: there is none, or several.
    """
    if root.is_file():
        return root
    if not root.is_dir():
        raise InputError(root, f"no such folder; give the one that holds {form.title} as data.root")
    candidates = found_at(root, form)
    if not candidates:
        raise InputError(
            root,
            f"no spreadsheet ({' or '.join(form.files)}) here, "
            f"{DEPTH} folders down or beside it; put the one that came with the frames here",
        )
    if len(candidates) > 1:
        names = ", ".join(map(str, candidates))
        raise InputError(
            root,
            f"{len(candidates)} spreadsheets ({names}) that may disagree; "
            "keep one, or give the one to read as data.root",
        )
    return candidates[0]


def found_at(root: Path, form: Form) -> list[Path]:
    """Spreadsheets named as the owner names them; else any .xlsx below `root`."""
    below = [path for depth in range(DEPTH + 1) for path in sheets(root.glob("*/" * depth + "*"))]
    named = [path for path in below if squeeze(path.name).startswith(form.prefix)]
    strange = [path for path in below if path.suffix.lower() == ".xlsx"]
    beside = sheets(root.absolute().parent.glob("*"))
    return (
        named or strange or [path for path in beside if squeeze(path.name).startswith(form.prefix)]
    )


def sheets(paths: Iterable[Path]) -> list[Path]:
    """Those that may be spreadsheets; a leading `~$` or `.` marks locks and a Mac's shadows."""
    return [
        path
        for path in sorted(paths)
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(("~$", "."))
        and path.parent.name != "__MACOSX"
        and path.is_file()
    ]


def table_in(path: Path, form: Form) -> tuple[list[list[str]], int]:
    """The sheet that holds the owner's table, as text, and the index of its header row."""
    found = load(path)
    order = sorted(found, key=lambda name: squeeze(name) != squeeze(form.sheet))
    best: tuple[int, list[list[str]], int] | None = None
    for name in order:
        for index, row in enumerate(found[name][:HEADER_ROWS]):
            hits = sum(field is not None for field in {field_of(cell, form) for cell in row})
            if best is None or hits > best[0]:
                best = (hits, found[name], index)
    if best is None or not best[1]:
        raise InputError(path, "holds no row; copy the owner's spreadsheet again")
    return best[1], best[2]


def load(path: Path) -> dict[str, list[list[str]]]:
    """Every sheet as rows of text.

    Raises:
        InputError: the file is no spreadsheet.
    """
    kind = "CSV" if path.suffix.lower() == ".csv" else "Excel spreadsheet"
    try:
        with warnings.catch_warnings():
            # openpyxl warns about styles and validations it does not keep; cells are unaffected.
            warnings.simplefilter("ignore")
            tables = _tables(path)
    except (
        BadZipFile, ZlibError, ValueError, KeyError, TypeError, IndexError, AttributeError,
        EOFError, OSError, SyntaxError, RuntimeError,
    ) as problem:  # fmt: skip
        # openpyxl lets whatever a damaged part of the archive causes through.
        raise InputError(
            path, f"is no {kind} ({problem}); copy the owner's {SUFFIXES[0]} again"
        ) from problem
    return {
        name: [[text(cell) for cell in row] for row in table.itertuples(index=False)]
        for name, table in tables.items()
    }


def _tables(path: Path) -> dict[str, pd.DataFrame]:
    if path.suffix.lower() == ".csv":
        options: dict[str, Any] = {"header": None, "dtype": object, "keep_default_na": False}
        return {"": pd.read_csv(path, encoding="utf-8-sig", skip_blank_lines=False, **options)}
    return pd.read_excel(
        path, sheet_name=None, header=None, dtype=object, engine="openpyxl", keep_default_na=False
    )


def check_columns(path: Path, cells: Sequence[str], form: Form) -> None:
    """Raises `InputError` for columns that are missing, doubled or nearly spelt.

    Blank columns and columns that resemble none of the owner's (a reader's remarks) do no harm.
    """
    spare = [cell for cell in cells if cell and not field_of(cell, form)]
    counts = Counter(field for cell in cells if (field := field_of(cell, form)))
    faults = []
    for field, column in form.columns.items():
        if column.needed and not counts[field]:
            hint = did_you_mean(column.name, spare) if spare else "copy the owner's file again"
            faults.append(f"column {column.name!r} is missing; {hint}")
    faults += [
        f"column {form.columns[field].name!r} occurs {count} times; keep one"
        for field, count in counts.items()
        if count > 1
    ]
    if faults:
        raise InputError(path, faults)


def field_of(cell: str, form: Form) -> str | None:
    """Our name for a column, whatever its case, blanks and signs; None for a strange one."""
    return form.known.get(squeeze(cell))


def squeeze(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def text(value: Any) -> str:
    """A cell as text: 46, 46.0 and " 46 " are "46", an empty cell is ""."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def number(cell: str) -> int | None:
    """A whole number of at most nine digits; no recording has more frames."""
    return int(cell) if re.fullmatch(r"\d{1,9}", cell, re.ASCII) else None
