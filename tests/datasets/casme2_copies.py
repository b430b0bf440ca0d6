"""Invented copies of published layouts: the owners' columns and folders, no row of theirs."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

HEADER_2014 = [
    "Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units",
    "Estimated Emotion",
]  # fmt: skip
HEADER_2019 = [*HEADER_2014[:-1], "Objective Classes", "Estimated Emotion"]

OWNERS = {re.sub("[^a-z]", "", name.lower()): name for name in HEADER_2019 if name}


def jpeg(width: int = 8, height: int = 6) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 150)).save(file, "JPEG")
    return file.getvalue()


@dataclass(frozen=True)
class Row:
    """One row of the spreadsheet, as it is written."""

    subject: Any = "01"
    name: str = "EP01_01"
    onset: Any = 9
    apex: Any = 10
    offset: Any = 11
    emotion: str = "happiness"
    units: Any = 12
    folder: str = "sub01"

    def __post_init__(self) -> None:
        if self.folder == "sub01" and str(self.subject).isdigit():
            object.__setattr__(self, "folder", f"sub{int(self.subject):02d}")


FOUR = (
    Row("01", "EP01_01", emotion="happiness"),
    Row("01", "EP02_01f", emotion="disgust", units="4+L10"),
    Row("02", "EP01_2", emotion="surprise", units="?"),
    Row("02", "EP09f", emotion="others"),
)


class Copy:
    """A copy of CASME II under construction."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._jpeg = root.parent / "frame.jpg"
        self._jpeg.write_bytes(jpeg())

    def frames(
        self,
        rows: Iterable[Row],
        *,
        top: str = "CASME2_RAW_selected",
        prefix: str = "img",
        margin: int = 0,
    ) -> None:
        for row in rows:
            folder = self.root / top / row.folder / row.name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(row.onset - margin, row.offset + margin + 1):
                os.link(self._jpeg, folder / f"{prefix}{number}.jpg")

    def coding(
        self,
        rows: Iterable[Row],
        *,
        name: str = "CASME2-coding-20140508.xlsx",
        header: list[str | None] | None = None,
    ) -> Path:
        self.root.mkdir(exist_ok=True)
        columns = header or (HEADER_2019 if "2019" in name else HEADER_2014)
        cells = [columns, *([_cell(row, column) for column in columns] for row in rows)]
        path = self.root / name
        pd.DataFrame(cells, dtype=object).to_excel(
            path, sheet_name="Sheet1", header=False, index=False
        )
        return path

    def folder(self, row: Row) -> Path:
        return self.root / "CASME2_RAW_selected" / row.folder / row.name

    def write(self, rows: Iterable[Row]) -> Path:
        rows = list(rows)
        self.frames(rows)
        self.coding(rows)
        return self.root

    def with_changed(self, **changes: Any) -> Path:
        """The four clips, with the cells of the first changed after its frames were written."""
        self.frames(FOUR)
        self.coding([replace(FOUR[0], **changes), *FOUR[1:]])
        return self.root


def _cell(row: Row, column: str | None) -> Any:
    return {
        "Subject": row.subject, "Filename": row.name, "OnsetFrame": row.onset,
        "ApexFrame": row.apex, "OffsetFrame": row.offset, "Action Units": row.units,
        "Estimated Emotion": row.emotion, "Objective Classes": 1,
    }.get(OWNERS.get(re.sub("[^a-z]", "", (column or "").lower())))  # fmt: skip


def full_rows(*, later: bool) -> list[Row]:
    """255 clips of 26 subjects; subjects 10 and 18 have none but `others`."""
    moved = "surprise" if later else "sadness"
    rows = [
        Row("04", "EP12_01f", apex="/", emotion="disgust"),
        Row("05", "EP09_05f", apex=9, emotion="repression"),
        *(Row("24", name, emotion=moved) for name in ("EP07_01", "EP07_04f", "EP10_03")),
    ]
    counts = {"disgust": 62, "happiness": 32, "repression": 26, "surprise": 25, "sadness": 4,
              "fear": 2}  # fmt: skip
    emotions = [emotion for emotion, count in counts.items() for _ in range(count)]
    most = [subject for subject in range(1, 27) if subject not in (10, 18)]
    rows += [
        Row(f"{most[i % 24]:02d}", f"XP{i:03d}", emotion=emotion)
        for i, emotion in enumerate(emotions)
    ]
    rows += [Row(f"{i % 26 + 1:02d}", f"XQ{i:03d}", emotion="others") for i in range(99)]
    return rows
