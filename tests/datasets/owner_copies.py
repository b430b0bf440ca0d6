"""Small invented copies in every owner's layout, cheap enough to mangle hundreds of times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mer_search.datasets import synthetic
from mer_search.datasets.owners import OWNERS, named
from mer_search.datasets.takes import Take, workbook

WITH_SHEET = sorted(set(OWNERS) - {"smic-hs", "smic-vis", "smic-nir"})
"""Layouts that cannot be read without their spreadsheet."""


def takes_of(layout: str) -> list[Take]:
    """Two subjects with one take of each expression."""
    owner = OWNERS[layout]
    drawn = [
        Take(subject, "", emotion, "", 40 + 9 * nth, 41 + 9 * nth, 43 + 9 * nth)
        for subject in (1, 2)
        for nth, emotion in enumerate(owner.emotions)
    ]
    return list(named(owner, drawn))


def write(root: Path, layout: str) -> Path:
    synthetic.write_plain(root, OWNERS[layout], takes_of(layout))
    return root


def sheet_of(root: Path) -> Path:
    (path,) = (path for path in root.iterdir() if path.suffix.lower() in (".xlsx", ".csv"))
    return path


def cells_of(path: Path) -> list[list[object]]:
    """All rows, the header and what stands above it too."""
    table = pd.read_excel(path, header=None, dtype=object)
    return table.where(table.notna(), None).to_numpy().tolist()


def write_cells(path: Path, cells: list[list[object]]) -> None:
    path.write_bytes(workbook("Sheet1", cells))


def header_row(cells: list[list[object]]) -> int:
    """The row with most words, which is the header of every layout here."""
    return next(i for i, row in enumerate(cells) if sum(isinstance(c, str) for c in row) > 4)


def column(cells: list[list[object]], *names: str) -> int:
    header = cells[header_row(cells)]
    return next(header.index(name) for name in names if name in header)


def clip_folders(root: Path, layout: str) -> Iterator[Path]:
    owner = OWNERS[layout]
    seen = set()
    for take in takes_of(layout):
        folder = (root / owner.frame(take, take.onset)).parent
        if folder not in seen:
            seen.add(folder)
            yield folder
