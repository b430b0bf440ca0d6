"""Data sets of one shape: a spreadsheet of clips beside folders of numbered frames.

What differs between owners is a `Layout`; everything else, faults too, is here. Not for data sets
without a spreadsheet. Clips are cut to onset..offset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mer_search.datasets import corrections, folders, spreadsheet
from mer_search.datasets.classes import Classes, ClassMap, objective_class, outside, resolve, tidy
from mer_search.datasets.clips import Clip, DataSet
from mer_search.datasets.folders import Folders
from mer_search.datasets.images import broken, numbered, runs
from mer_search.datasets.layout import Layout
from mer_search.errors import InputError, did_you_mean

NO_APEX = ("", "/", "-", "n/a", "nan", "none", "?")
"""How owners say that no apex could be annotated."""
Cells = dict[str, str]


@dataclass(frozen=True)
class Row:
    """One annotated clip; `onset`, `apex`, `offset` are the owner's frame numbers."""

    where: str
    subject: str
    name: str
    stands: tuple[str, ...]
    emotion: str
    objective: str
    onset: int
    apex: int | None
    offset: int
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Annotation:
    """A spreadsheet as rows; `faults` are rows that name no clip, and repairs without one."""

    version: str
    has_objective: bool
    rows: tuple[Row, ...]
    faults: tuple[str, ...]
    corrections: tuple[str, ...]
    notes: tuple[str, ...]


def read(layout: Layout, root: Path, *, classes: Classes | None = None) -> DataSet:
    """Reads a copy of one data set.

    Args:
        root: the folder that holds spreadsheet and frames; or the spreadsheet, with the frames
            below its folder; or the folder of one layout, with the spreadsheet beside it.
        classes: see `mer_search.datasets.classes`; by default the layout's.

    Returns:
        The clips of the protocol; clips that cannot be used are in `faults`.

    Raises:
        InputError: no such root, no or several spreadsheets, one that cannot be read or lacks
            columns, no frames, the same clip in several folders, an impossible class map.
    """
    class_map = resolve(layout.classes if classes is None else classes, layout.emotions)
    path = spreadsheet.find(root, layout.form)
    annotation = annotate(layout, path)
    if class_map.by == "objective" and not annotation.has_objective:
        raise InputError(
            path,
            "objective classes need the column 'Objective Classes', which this spreadsheet lacks; "
            "bring the version that has it, or choose classes of emotions",
        )
    folder = root if root.is_dir() else root.parent
    found = folders.find(
        folder, layout.folder, layout.place, skip=layout.skip, expected=layout.expected
    )
    clips, faults, used, left_out = clips_of(layout, annotation, class_map, found)
    return DataSet(
        reader=layout.dataset,
        version=annotation.version,
        classes=class_map.names,
        clips=tuple(sorted(clips, key=lambda clip: clip.key)),
        faults=(*annotation.faults, *faults),
        corrections=annotation.corrections,
        notes=(*annotation.notes, *outside(left_out), *strays(found.unused(used))),
        boundaries="annotated",
    )


def annotate(layout: Layout, path: Path) -> Annotation:
    """The rows of a spreadsheet, repaired."""
    table = spreadsheet.read(path, layout.form)
    faults, named = [], []
    for number, cells in table.rows:
        where = f"{path.name} row {number}"
        empty = [field for field in ("subject", "name") if not cells[field]]
        if empty:
            told = " and ".join(layout.form.columns[field].name for field in ("subject", "name"))
            faults.append(f"{where}: {told} must not be empty; fill them in")
        else:
            named.append((where, layout.subject(cells), layout.name(cells), dict(cells)))
    mended = corrections.apply(
        layout.dataset,
        {(subject, name): cells for _, subject, name, cells in named},
        spreadsheet=path.name,
    )
    rows = [row(layout, *each) for each in named]
    return Annotation(
        version=layout.version(table),
        has_objective="objective" in table.fields,
        rows=tuple(rows),
        faults=(*faults, *mended.faults),
        corrections=mended.corrections,
        notes=mended.notes,
    )


def row(layout: Layout, where: str, subject: str, name: str, cells: Cells) -> Row:
    """One row as values; what is wrong with them is in `faults`."""
    columns = {field: column.name for field, column in layout.form.columns.items()}
    onset, offset = (spreadsheet.number(cells[field]) for field in ("onset", "offset"))
    apex = spreadsheet.number(cells["apex"])
    faults = [
        f"{columns[field]} {cells[field]!r} must be a frame number; mend the cell"
        for field, value in (("onset", onset), ("offset", offset))
        if value is None
    ]
    if apex is None and tidy(cells["apex"]) not in NO_APEX:
        faults.append(
            f"{columns['apex']} {cells['apex']!r} must be a frame number or '/'; mend the cell"
        )
    if onset is not None and offset is not None:
        faults += order_faults(columns, onset, apex, offset)
    faults += [f"{each!r} must not contain '/'" for each in (subject, name) if "/" in each]
    emotion = tidy(cells["emotion"])
    return Row(
        f"{where} ({subject}/{name})", subject, name, layout.stands(cells, name),
        (layout.spellings or {}).get(emotion, emotion), cells.get("objective", ""),
        onset or 0, apex, offset or 0, tuple(faults),
    )  # fmt: skip


def order_faults(
    columns: Mapping[str, str], onset: int, apex: int | None, offset: int
) -> Iterable[str]:
    """Onset, apex and offset that are out of order. An apex on the onset is in order."""
    first, last = columns["onset"], columns["offset"]
    if onset > offset:
        yield f"{first} {onset} must not lie after {last} {offset}; mend the cells"
    elif apex is not None and not onset <= apex <= offset:
        yield (
            f"{columns['apex']} {apex} must lie within {first}..{last} {onset}..{offset}; "
            "mend the cell, or write '/' for an apex that is not annotated"
        )


def clips_of(
    layout: Layout, annotation: Annotation, class_map: ClassMap, found: Folders
) -> tuple[list[Clip], list[str], set[Path], Counter[str]]:
    """Clips, faults, folders that belong to a row, and how many clips of each emotion are out."""
    clips: list[Clip] = []
    faults: list[str] = []
    used = set()
    left_out: Counter[str] = Counter()
    repeated = Counter((row.subject, row.name) for row in annotation.rows)
    for each in annotation.rows:
        folder = found.find(each.subject, each.stands)
        if folder:
            used.add(folder)
        label, wrong = label_of(layout, each, class_map)
        if label and repeated[each.subject, each.name] > 1:
            faults.append(f"{each.where} is annotated more than once; keep one row")
            continue
        if label:
            clip, wrong = clip_of(layout, each, label, folder, found)
            clips += [clip] if clip else []
        elif not wrong:
            left_out[each.emotion if class_map.by == "emotion" else each.objective or "none"] += 1
        faults += [f"{each.where}: {fault}" for fault in wrong]
    return clips, faults, used, left_out


def label_of(layout: Layout, row: Row, class_map: ClassMap) -> tuple[str | None, list[str]]:
    """The row's class; None where it is out of the protocol or, with the fault, unknown."""
    value, allowed = row.emotion, layout.emotions
    if class_map.by == "objective":
        objective = objective_class(row.objective)
        if objective is None:
            return None, [f"{row.objective!r} is no objective class; write I to VII"]
        return class_map.label(layout.dataset, row.subject, row.name, objective), []
    if value not in allowed:
        cure = did_you_mean(value, allowed)
        return None, [f"{value!r} is no emotion of {layout.form.title}; {cure}"]
    return class_map.label(layout.dataset, row.subject, row.name, value), []


def clip_of(
    layout: Layout, row: Row, label: str, folder: Path | None, found: Folders
) -> tuple[Clip | None, list[str]]:
    """The clip of one row, or what is wrong with it."""
    if row.faults:
        return None, list(row.faults)
    if folder is None:
        hint = found.hint(row.subject, row.name)
        return None, [f"no folder with its frames; {hint}"]
    frames, wrong = numbered(folder)
    if not frames:
        return None, [f"{folder} holds no numbered images; complete the copy"]
    wanted = range(row.onset, row.offset + 1)
    missing = [number for number in wanted if number not in frames]
    if missing:
        wrong.append(
            f"{folder} lacks frames {runs(missing)} of {row.onset}..{row.offset} "
            f"(it holds {runs(sorted(frames))}); complete the copy"
        )
    chosen = tuple(frames[number] for number in wanted if number in frames)
    wrong += broken(chosen)
    if wrong:
        return None, wrong
    apex = None if row.apex is None else row.apex - row.onset
    last = len(chosen) - 1
    return Clip(layout.dataset, row.subject, row.name, label, 0, apex, last, chosen), []


def strays(unused: list[str]) -> list[str]:
    """Folders with frames that no row names, in one sentence."""
    if not unused:
        return []
    shown = ", ".join(unused[:5]) + (", ..." if len(unused) > 5 else "")
    return [f"{len(unused)} folders with frames have no row in the spreadsheet: {shown}"]
