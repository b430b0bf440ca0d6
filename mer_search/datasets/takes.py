"""What a semi-synthetic data set will show: its takes, planned before a frame is written."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from openpyxl import Workbook

from mer_search.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Take:
    """One clip to be written; frame numbers as the owners count them.

    `told` is the apex in the spreadsheet where that is a known fault of the owner's.
    """

    subject: int
    name: str
    emotion: str
    movement: str
    onset: int
    apex: int
    offset: int
    told: int | str | None = None
    objective: int = 7

    @property
    def apex_cell(self) -> int | str:
        return self.apex if self.told is None else self.told


@dataclass(frozen=True)
class Owner:
    """How one owner's data set is written.

    Attributes:
        emotions: the owner's word -> its movement in `faces.MOVEMENTS` and action units, in order
            of use.
        named: gives a subject's n-th take the owner's name, numbers and known faults.
        frame: where the frame of one number stands.
        sheets: file name -> content of the spreadsheets.
        full: the takes of a full copy: the owner's numbers of clips, subjects and emotions.
        grey: whether the camera is.
    """

    emotions: Mapping[str, tuple[str, str]]
    named: Callable[[Take, int], Take]
    frame: Callable[[Take, int], str]
    sheets: Callable[[Sequence[Take]], dict[str, bytes]]
    full: Callable[[], list[Take]]
    grey: bool = False


def owner_named(name: str, owners: Iterable[str]) -> str:
    """`name`, if an owner is called so.

    Raises:
        InputError: none is.
    """
    if name not in owners:
        raise InputError("layout", f"{name!r} is no layout; {did_you_mean(name, owners)}")
    return name


def workbook(sheet: str, rows: Iterable[Sequence[object]]) -> bytes:
    """An .xlsx of one sheet; equal rows give equal bytes."""
    book = Workbook(write_only=True)
    table = book.create_sheet(sheet)
    for row in rows:
        table.append(row)
    file = io.BytesIO()
    book.save(file)
    return without_time(file.getvalue())


def without_time(xlsx: bytes) -> bytes:
    """The same workbook without the times of writing, which openpyxl puts into the archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(xlsx)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"2000-01-01T00:00:00Z",
                             old.read(name))  # fmt: skip
            new.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def units_cell(units: str) -> int | str:
    """Owners' programs keep a lone action unit as a number."""
    return int(units) if units.isdigit() else units


def deal(
    counts: Mapping[str, int], subjects: Sequence[int], *, objective: Sequence[int] = ()
) -> list[Take]:
    """Short takes, `counts` of each emotion, dealt to the subjects in turn."""
    emotions = [emotion for emotion, count in counts.items() for _ in range(count)]
    classes = [number for number, count in enumerate(objective, start=1) for _ in range(count)]
    return [
        Take(
            subject=subjects[index % len(subjects)],
            name="",
            emotion=emotion,
            movement="",
            onset=40 + 7 * index,
            apex=41 + 7 * index,
            offset=42 + 7 * index,
            objective=classes[index] if index < len(classes) else 7,
        )
        for index, emotion in enumerate(emotions)
    ]
