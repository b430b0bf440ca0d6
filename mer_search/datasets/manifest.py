"""A CSV of precomputed images or maps: how anything without a reader of its own gets in.

    dataset,subject,clip,label,path[,frame]

One or more rows per clip, in the order of `frame`, else of the rows; paths are relative to the CSV
and name images or `.npy` arrays [H, W, C]. Not for videos. Letters: H, W pixels, C channels.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from mer_search.datasets.arrays import array_faults, one_shape
from mer_search.datasets.classes import (
    EMOTIONS,
    Classes,
    ClassMap,
    objective_class,
    outside,
    resolve,
    tidy,
)
from mer_search.datasets.clips import Clip, DataSet
from mer_search.datasets.images import SUFFIXES, broken
from mer_search.errors import InputError, did_you_mean

NEEDED = ("dataset", "subject", "clip", "label", "path")
OPTIONAL = ("frame",)


@dataclass(frozen=True)
class Row:
    """One row as text; `line` counts from 1, the header being line 1."""

    line: int
    dataset: str
    subject: str
    clip: str
    label: str
    path: str
    frame: str

    @property
    def faults(self) -> list[str]:
        """What is wrong with the row by itself."""
        empty = [column for column in NEEDED if not getattr(self, column)]
        told = ", ".join(empty)
        found = [f"{told} must not be empty; fill in or drop the row"] if empty else []
        # A clip's key is dataset/subject/clip: a slash could make two clips one.
        found += [
            f"{column} {getattr(self, column)!r} must not contain '/'; rename it"
            for column in ("dataset", "subject", "clip")
            if "/" in getattr(self, column)
        ]
        return [f"line {self.line}: {fault}" for fault in found]


def read(root: Path, *, classes: Classes | None = None) -> DataSet:
    """Reads a manifest.

    Args:
        root: the CSV file.
        classes: a class map whose emotions are labels of the manifest; by default every label is
            a class, in alphabetical order.

    Returns:
        All rows of a clip as its `frames`; clips that cannot be used are in `faults`. Nothing is
        known of onset, apex and offset. Clips that the classes leave out are counted in a note.

    Raises:
        InputError: no such file, no CSV, columns missing or unknown, an impossible class map.
    """
    rows = load(root)
    labels = sorted({tidy(row.label) for row in rows if row.label})
    class_map = class_map_of(classes, labels)
    faults = [fault for row in rows for fault in row.faults]
    faulty = {(row.dataset, row.subject, row.clip) for row in rows if row.faults}
    clips = []
    left_out: Counter[str] = Counter()
    for key, members in grouped(rows).items():
        if key in faulty:
            continue
        label, wrong = label_of(members, class_map, built_in=isinstance(classes, str))
        if label:
            clip, wrong = clip_of(root.parent, members, label)
            clips += [clip] if clip else []
        elif not wrong:
            left_out[tidy(members[0].label)] += 1
        faults += [f"clip {'/'.join(key)}: {fault}" for fault in wrong]
    clips, unlike = one_shape(clips)
    return DataSet(
        reader="manifest",
        version="1",
        classes=class_map.names,
        clips=tuple(sorted(clips, key=lambda clip: clip.key)),
        faults=(*faults, *unlike),
        # Whoever made the maps chose the frames by means that a table does not tell, so nothing
        # better than the weaker claim can be made.
        boundaries="annotated",
        notes=(*outside(left_out), *spellings(left_out, class_map)),
    )


def class_map_of(classes: Classes | None, labels: list[str]) -> ClassMap:
    """Every label its own class, or the map asked for."""
    if classes is None:
        return ClassMap(names=tuple(labels), of={label: label for label in labels})
    return resolve(classes, labels)


def load(path: Path) -> list[Row]:
    """The rows of the CSV.

    Raises:
        InputError: see `read`.
    """
    if not path.is_file():
        what = "is a folder; name the CSV in it" if path.is_dir() else "no such file; give a CSV"
        raise InputError(path, f"{what} ({','.join(NEEDED)}[,frame]) as data.root")
    lines = cells_of(path)
    if not lines:
        raise InputError(path, f"is empty; begin it with the header {','.join(NEEDED)}[,frame]")
    columns = lines[0][1]
    check_columns(path, columns)
    long = [
        f"line {line} has {len(cells)} cells, the header {len(columns)}; quote commas inside a cell"
        for line, cells in lines[1:]
        if len(cells) > len(columns)
    ]
    if long:
        raise InputError(path, long)
    if len(lines) == 1:
        raise InputError(path, "has a header but no rows; list the clips below it")
    return [
        Row(
            line,
            **dict.fromkeys(OPTIONAL, "") | dict(zip_longest(columns, cells, fillvalue="")),
        )
        for line, cells in lines[1:]
    ]


def cells_of(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells of each line that holds something.

    Raises:
        InputError: the file is no text or its quotes do not match.
    """
    try:
        # Spreadsheet programs put a byte order mark first: utf-8-sig drops it.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (ValueError, OSError, csv.Error) as problem:
        raise InputError(path, f"is no CSV in UTF-8 ({problem}); write it again") from problem
    return [(line, cells) for line, cells in lines if any(cells)]


def check_columns(path: Path, columns: list[str]) -> None:
    """Raises `InputError` for missing and unknown columns, all at once."""
    known = (*NEEDED, *OPTIONAL)
    spare = [column for column in columns if column not in known]
    twice = sorted({column for column in columns if columns.count(column) > 1} - set(spare))
    missing = [column for column in NEEDED if column not in columns]
    faults = [
        f"column {column!r} is missing; the header must be {','.join(NEEDED)}[,frame]"
        for column in missing
    ]
    faults += [
        f"column {column!r} is unknown; rename or drop it ({did_you_mean(column, known)})"
        for column in spare
    ]
    faults += [
        f"column {column!r} occurs {columns.count(column)} times; keep one" for column in twice
    ]
    if faults:
        raise InputError(path, faults)


def grouped(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """Rows by clip, in order of appearance."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.subject, row.clip), []).append(row)
    return groups


def label_of(
    rows: list[Row], class_map: ClassMap, *, built_in: bool
) -> tuple[str | None, list[str]]:
    """The class of a clip; None where the classes leave it out or, with the fault, unknown.

    A built-in map knows all words of the field, so any other word is a slip. A user's own map may
    leave out labels of the user's own.
    """
    first = rows[0]
    labels = sorted({tidy(row.label) for row in rows})
    if len(labels) > 1:
        return None, [f"has {len(labels)} labels, {', '.join(labels)}; give all rows one"]
    word: str | None = labels[0]
    if class_map.by == "objective":
        word = objective_class(first.label)
        if word is None:
            return None, [f"label {first.label!r} is no objective class; write I to VII"]
    elif built_in and word not in EMOTIONS:
        cure = did_you_mean(labels[0], EMOTIONS)
        return None, [
            f"label {first.label!r} is no emotion; {cure} (or write data.classes as a map)"
        ]
    return class_map.label(first.dataset, first.subject, first.clip, str(word)), []


def spellings(left_out: Iterable[str], class_map: ClassMap) -> Iterable[str]:
    """Labels in no class that may be slips for one that is."""
    for label in left_out:
        hint = did_you_mean(label, class_map.of)
        if label not in EMOTIONS and hint.startswith("did you mean"):
            yield f"label {label!r} is in no class; {hint}"


def clip_of(folder: Path, rows: list[Row], label: str) -> tuple[Clip | None, list[str]]:
    """The clip of some rows; None, with the faults, where it is unusable."""
    first = rows[0]
    ordered, faults = in_order(rows)
    paths = tuple(folder / row.path for row in ordered)
    faults += file_faults(ordered, paths)
    if faults:
        return None, faults
    return Clip(first.dataset, first.subject, first.clip, label, None, None, None, paths), []


def in_order(rows: list[Row]) -> tuple[list[Row], list[str]]:
    """Rows by `frame` where there is one, else as they stand; and what is wrong with `frame`."""
    if not any(row.frame for row in rows):
        return rows, []
    faults = [
        f"line {row.line}: frame {row.frame!r} must be a whole number in every row of the clip "
        "or in none; mend the row"
        for row in rows
        if not row.frame.isdecimal()
    ]
    if faults:
        return rows, faults
    numbers = [int(row.frame) for row in rows]
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    faults = [f"frame {number} occurs more than once; drop or renumber a row" for number in twice]
    return sorted(rows, key=lambda row: int(row.frame)), faults


def file_faults(rows: Sequence[Row], paths: Sequence[Path]) -> list[str]:
    """What is wrong with the files of one clip."""
    names = [row.path for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    faults = [f"{name} is listed more than once; drop a row" for name in twice]
    for row, path in zip(rows, paths, strict=True):
        if not path.is_file():
            faults.append(f"line {row.line}: no such file {path}; paths are relative to the CSV")
        elif path.suffix.lower() not in {".npy", *SUFFIXES}:
            faults.append(
                f"line {row.line}: {path.name} must be .npy or an image "
                f"({', '.join(sorted(SUFFIXES))}); convert it"
            )
    if faults:
        return faults
    arrays = [path for path in paths if path.suffix.lower() == ".npy"]
    if arrays and len(arrays) < len(paths):
        return ["mixes images and .npy arrays; use one kind"]
    return [fault for path in arrays for fault in array_faults(path)] or (
        [] if arrays else broken(paths)
    )
