"""CASME II's spreadsheet: finding it, its columns by name, its rows as values. Not for frames.

Two codings are about, told apart by the date in the file's name: 2014-05-08, and 2019-07-01 which
adds `Objective Classes` and calls three clips of sub24 surprise instead of sadness.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pandas as pd

from mer_search.datasets.classes import tidy
from mer_search.errors import InputError, did_you_mean

NEEDED = ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Estimated Emotion")
KNOWN = (*NEEDED, "Action Units", "Objective Classes")
DEPTH = 2
"""How many folders down a spreadsheet is looked for; frames stand deeper and are many."""


@dataclass(frozen=True)
class Row:
    """One annotated clip; `onset`, `apex`, `offset` are the owner's frame numbers."""

    where: str
    subject: str
    name: str
    emotion: str
    onset: int
    apex: int | None
    offset: int
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Coding:
    """A spreadsheet that was read; `faults` are rows without subject or file name."""

    version: str
    rows: tuple[Row, ...]
    faults: tuple[str, ...]


def read(root: Path) -> Coding:
    """The only spreadsheet at, below or beside `root`.

    Raises:
        InputError: none or several, no spreadsheet at all in truth, columns missing or doubled.
    """
    path = find(root)
    table = load(path)
    check_columns(path, [str(name) for name in table.columns])
    table = table.rename(columns={name: known(str(name)) or name for name in table.columns})
    rows, faults = [], []
    for index, cells in enumerate(table[list(NEEDED)].to_dict("records")):
        if not any(text(value) for value in cells.values()):
            continue
        where = f"{path.name} row {index + 2}"
        if text(cells["Subject"]) and text(cells["Filename"]):
            rows.append(row(where, cells))
        else:
            faults.append(f"{where}: Subject and Filename must not be empty; fill them in")
    return Coding(version(path, table), tuple(rows), tuple(faults))


def find(root: Path) -> Path:
    """The spreadsheet's path; `root` may be the spreadsheet itself or one layout's folder."""
    if root.is_file():
        return root
    if not root.is_dir():
        raise InputError(root, "no such folder; give the one that holds CASME II as data.root")
    candidates = [
        path
        for depth in range(DEPTH + 1)
        for path in sorted(root.glob("*/" * depth + "*.xlsx"))
        if not path.name.startswith(("~$", "."))
    ]
    candidates = candidates or sorted(root.absolute().parent.glob("CASME2-coding-*.xlsx"))
    if not candidates:
        raise InputError(
            root,
            "no spreadsheet (CASME2-coding-20140508.xlsx or CASME2-coding-20190701.xlsx) here, "
            f"{DEPTH} folders down or beside it; put the one that came with the frames here",
        )
    named = [path for path in candidates if path.name.lower().startswith("casme2-coding")]
    candidates = named or candidates
    if len(candidates) > 1:
        names = ", ".join(map(str, candidates))
        raise InputError(
            root,
            f"{len(candidates)} spreadsheets ({names}) that may disagree; "
            "keep one, or give the one to read as data.root",
        )
    return candidates[0]


def load(path: Path) -> pd.DataFrame:
    """Sheet1 (or the only sheet) as untouched values.

    Raises:
        InputError: the file is no spreadsheet or is empty.
    """
    try:
        with warnings.catch_warnings():
            # openpyxl warns about styles and validations it does not keep; cells are unaffected.
            warnings.simplefilter("ignore")
            sheets = pd.read_excel(path, sheet_name=None, dtype=object, engine="openpyxl")
    except (BadZipFile, ValueError, KeyError, OSError) as problem:
        raise InputError(
            path, f"is no Excel spreadsheet ({problem}); copy the owner's .xlsx again"
        ) from problem
    return sheets.get("Sheet1", next(iter(sheets.values())))


def squeeze(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def known(name: str) -> str | None:
    """The owner's spelling of a column, whatever its case and blanks."""
    return {squeeze(column): column for column in KNOWN}.get(squeeze(name))


def check_columns(path: Path, columns: list[str]) -> None:
    """Raises `InputError` for columns that are missing, doubled or nearly spelt.

    Blank columns and columns that resemble none of the owner's (a reader's remarks) do no harm.
    """
    # pandas names a second "ApexFrame" "ApexFrame.1" and a blank column "Unnamed: 3".
    named = [re.sub(r"\.\d+$", "", column) for column in columns]
    spare = [column for column in named if not known(column) and "Unnamed" not in column]
    counts = Counter(filter(None, map(known, named)))
    faults = []
    for column in NEEDED:
        if not counts[column]:
            hint = did_you_mean(column, spare) if spare else "copy the owner's spreadsheet again"
            faults.append(f"column {column!r} is missing; {hint}")
    faults += [
        f"column {column!r} occurs {count} times; keep one"
        for column, count in counts.items()
        if count > 1
    ]
    if faults:
        raise InputError(path, faults)


def version(path: Path, table: pd.DataFrame) -> str:
    """The coding's date from the file's name; of a renamed file, from its columns."""
    date = re.search(r"(20\d\d)-?(\d\d)-?(\d\d)", path.name)
    if date:
        return "-".join(date.groups())
    return "2019-07-01" if "Objective Classes" in table.columns else "2014-05-08"


def row(where: str, cells: Mapping[Any, Any]) -> Row:
    """One row as values; what is wrong with them is in `faults`."""
    subject, name = subject_name(text(cells["Subject"])), text(cells["Filename"])
    onset, offset = (number(text(cells[column])) for column in ("OnsetFrame", "OffsetFrame"))
    apex_text = text(cells["ApexFrame"])
    apex = number(apex_text)
    faults = [
        f"{column} {text(cells[column])!r} must be a frame number; mend the cell"
        for column, value in (("OnsetFrame", onset), ("OffsetFrame", offset))
        if value is None
    ]
    # "/" is how the owners say that no apex could be annotated.
    if apex is None and apex_text not in ("", "/"):
        faults.append(f"ApexFrame {apex_text!r} must be a frame number or '/'; mend the cell")
    if onset is not None and offset is not None:
        faults += order_faults(onset, apex, offset)
    where = f"{where} ({subject}/{name})"
    emotion = tidy(text(cells["Estimated Emotion"]))
    return Row(where, subject, name, emotion, onset or 0, apex, offset or 0, tuple(faults))


def order_faults(onset: int, apex: int | None, offset: int) -> list[str]:
    """Onset, apex and offset that are out of order. An apex on the onset is in order."""
    if onset > offset:
        return [f"OnsetFrame {onset} must not lie after OffsetFrame {offset}; mend the cells"]
    if apex is not None and not onset <= apex <= offset:
        return [
            f"ApexFrame {apex} must lie within OnsetFrame..OffsetFrame {onset}..{offset}; "
            "mend the cell, or write '/' for an apex that is not annotated"
        ]
    return []


def text(value: Any) -> str:
    """A cell as text: 46, 46.0 and " 46 " are "46", an empty cell is ""."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def number(cell: str) -> int | None:
    return int(cell) if re.fullmatch(r"\d+", cell) else None


def subject_name(cell: str) -> str:
    """`1`, `"01"` and `"sub01"` are "sub01"."""
    digits = re.fullmatch(r"(?:sub)?_?0*(\d+)", cell, re.IGNORECASE)
    return f"sub{int(digits[1]):02d}" if digits else cell
