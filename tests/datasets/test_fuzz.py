"""Mangled spreadsheets and trees: a clear message or a right answer, never a traceback or a loss.

A *right answer* here: every row of the spreadsheet that names anything is a clip, a fault that
names the row, or counted among the clips outside the classes; and rows and folders that were left
alone give the very clips they gave before.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from owner_copies import (
    WITH_SHEET,
    cells_of,
    clip_folders,
    header_row,
    sheet_of,
    takes_of,
    write,
    write_cells,
)

from mer_search.datasets import DataSet, read
from mer_search.datasets.owners import OWNERS
from mer_search.errors import InputError

CELLS = st.one_of(
    st.none(), st.integers(-5, 10_000), st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from(["", " ", "/", "?", "01", "sub01", "S01", "nan", "happiness", "Others", "=1+1",
                     "1,2", "006_1_2", "III", "9" * 30, "a/b", "..", "\u0661\u0662"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=12),
    st.booleans(),
)  # fmt: skip
FUZZ = settings(
    max_examples=int(os.environ.get("MER_SEARCH_FUZZ", "20")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
pytestmark = pytest.mark.slow


Original = Callable[[str], tuple[Path, dict[str, tuple[object, ...]], list[list[object]]]]


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Original:
    """Root, clips and a copy of the spreadsheet's cells of a layout."""
    made: dict[str, tuple[Path, dict[str, tuple[object, ...]], list[list[object]]]] = {}

    def get(layout: str):
        if layout not in made:
            root = write(tmp_path_factory.mktemp("fuzz") / layout, layout)
            made[layout] = root, clips(read(layout, root)), cells_of(sheet_of(root))
        root, before, cells = made[layout]
        return root, before, [list(row) for row in cells]

    return get


def clips(found: DataSet) -> dict[str, tuple[object, ...]]:
    return {
        clip.key: (clip.label, clip.apex, clip.offset, len(clip.frames)) for clip in found.clips
    }


def outside(found: DataSet) -> int:
    return sum(int(note.split()[0]) for note in found.notes if "outside the classes" in note)


def read_or_tell(layout: str, root: Path) -> DataSet | None:
    """What was read, or None after a message with where, what and no trace of a program."""
    try:
        return read(layout, root, on_fault="skip")
    except InputError as told:
        faults = told.faults
    assert faults
    assert all(len(fault) > 15 and "Traceback" not in fault for fault in faults)
    return None


def read_with(layout: str, root: Path, cells: list[list[object]]) -> DataSet | None:
    """The same for the folders of a copy beside a spreadsheet of other cells."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / layout
        copy.mkdir()
        for path in root.iterdir():
            if path.is_dir():
                (copy / path.name).symlink_to(path, target_is_directory=True)
        write_cells(copy / sheet_of(root).name, cells)
        return read_or_tell(layout, copy)


def mangle_cells(data: st.DataObject, cells: list[list[object]], header: int) -> set[int]:
    """Changes some rows in place; their indices."""
    changed: set[int] = set()
    for _ in range(data.draw(st.integers(1, 6), label="changes")):
        row = data.draw(st.integers(header + 1, len(cells) - 1), label="row")
        column = data.draw(st.integers(0, len(cells[row]) - 1), label="column")
        cells[row][column] = data.draw(CELLS, label="cell")
        changed.add(row)
    return changed


@pytest.mark.parametrize("layout", WITH_SHEET)
@FUZZ
@given(data=st.data())
def test_mangled_rows(layout: str, originals: Original, data: st.DataObject) -> None:
    root, before, cells = originals(layout)
    header = header_row(cells)
    changed = mangle_cells(data, cells, header)
    found = read_with(layout, root, cells)
    if found is None:
        return
    rows = {index for index in range(header + 1, len(cells)) if said(cells[index], cells[header])}
    faulty = {int(row) - 1 for row in re.findall(r"xlsx row (\d+)", "\n".join(found.faults))}
    assert len(found.clips) + outside(found) + len(faulty) == len(rows)
    assert faulty <= changed | twins(cells, changed)
    kept = [clips_of_rows(layout, row - header - 1) for row in rows - changed - faulty]
    for key in kept:
        assert clips(found)[key] == before[key]


def said(row: list[object], header: list[object]) -> bool:
    """Whether a cell under a column that readers know holds anything."""
    known = {"Subject", "sub_ID", "Filename", "fold_name", "Emotion", "emotion", "AU", "AUs",
             "Estimated Emotion", "Action Units", "Objective Classes",
             "Objective class"}  # fmt: skip
    return any(
        name is not None and (name in known or re.match("(Onset|Apex|Offset)", str(name)))
        and cell is not None and str(cell).strip()
        for name, cell in zip(header, row, strict=True)
    )  # fmt: skip


def twins(cells: list[list[object]], changed: set[int]) -> set[int]:
    """Rows that a changed row may now be named like; both are told then."""
    return set(range(len(cells))) if changed else set()


def clips_of_rows(layout: str, index: int) -> str:
    """The key of the clip in the index-th row."""
    return KEYS[layout](takes_of(layout)[index])


KEYS: dict[str, Callable[..., str]] = {
    "casme2": lambda take: f"casme2/sub{take.subject:02d}/{take.name}",
    "samm": lambda take: f"samm/{take.subject:03d}/{take.name}",
    "casme3": lambda take: f"casme3/spNO.{take.subject}/{take.name}_{take.onset}",
    "mmew": lambda take: f"mmew/S{take.subject:02d}/{take.name}",
    "4dme": lambda take: f"4dme/{take.subject:02d}/{take.name}",
}


@pytest.mark.parametrize("layout", WITH_SHEET)
@FUZZ
@given(data=st.data())
def test_mangled_sheets(layout: str, originals: Original, data: st.DataObject) -> None:
    """Rows and columns dropped, doubled, moved; then clips must be those of before or told."""
    root, before, cells = originals(layout)
    for _ in range(data.draw(st.integers(1, 4))):
        action = data.draw(st.sampled_from(["drop column", "swap columns", "drop row", "double row",
                                            "blank row", "rename"]))  # fmt: skip
        row = data.draw(st.integers(0, len(cells) - 1))
        one, two = (data.draw(st.integers(0, len(cells[0]) - 1)) for _ in range(2))
        if action == "drop column" and len(cells[0]) > 2:
            cells = [line[:one] + line[one + 1 :] for line in cells]
        elif action == "swap columns":
            for line in cells:
                line[one], line[two] = line[two], line[one]
        elif action == "drop row" and len(cells) > 2:
            del cells[row]
        elif action == "double row":
            cells.insert(row, list(cells[row]))
        elif action == "blank row":
            cells.insert(row, [None] * len(cells[0]))
        elif action == "rename":
            cells[row][one] = data.draw(CELLS)
    found = read_with(layout, root, cells)
    if found is not None:
        same = [key for key in clips(found) if clips(found)[key] == before.get(key)]
        assert len(same) >= len(clips(found)) - 4  # one renamed cell each at most


@pytest.mark.parametrize("layout", sorted(set(OWNERS) - {"smic-vis", "smic-nir"}))
@FUZZ
@given(data=st.data())
def test_mangled_trees(layout: str, originals: Original, data: st.DataObject) -> None:
    """Files and folders removed, renamed, moved, torn."""
    root, before, _ = originals(layout)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / layout
        shutil.copytree(root, copy, copy_function=os.link)
        touched = set()
        for _ in range(data.draw(st.integers(1, 4))):
            places = sorted(path for path in copy.rglob("*") if path != sheet_of_copy(copy))
            if not places:
                break
            victim = data.draw(st.sampled_from(places))
            touched.add(victim)
            mangle_path(data, victim)
        found = read_or_tell(layout, copy)
        alone = untouched(copy, layout, touched)
    if found is None:
        return
    told = "\n".join([*found.faults, *found.notes])
    if layout in WITH_SHEET:
        lost = before.keys() - clips(found).keys()
        assert all(key.split("/", 1)[1] in told for key in lost)
    for key, value in clips(found).items():
        if key in alone and key in before:
            assert value == before[key]


def sheet_of_copy(copy: Path) -> Path | None:
    return next((path for path in copy.iterdir() if path.suffix.lower() == ".xlsx"), None)


def untouched(copy: Path, layout: str, touched: set[Path]) -> set[str]:
    """Keys whose folders and everything above were left alone."""
    if layout not in KEYS:
        return set()
    owner, alone = OWNERS[layout], set()
    for take in takes_of(layout):
        folder = (copy / owner.frame(take, take.onset)).parent
        if not any(folder == path or folder in path.parents or path in folder.parents
                   for path in touched):  # fmt: skip
            alone.add(KEYS[layout](take))
    return alone


def mangle_path(data: st.DataObject, victim: Path) -> None:
    action = data.draw(st.sampled_from(["remove", "rename", "tear", "nest", "to file", "loop"]))
    folder = victim.is_dir() and not victim.is_symlink()
    if action == "remove":
        shutil.rmtree(victim) if folder else victim.unlink()
    elif action == "rename":
        name = data.draw(st.sampled_from(["x", "sub07", "1.JPG", "s9_ne_09", "999", " "]))
        if not victim.with_name(name).exists():
            victim.rename(victim.with_name(name))
    elif action == "tear" and victim.is_file():
        content = victim.read_bytes()
        victim.unlink()  # the files are links to one another
        victim.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    elif action == "nest" and folder:
        aside = victim.with_name("aside")
        if not aside.exists():
            victim.rename(aside)
            victim.mkdir()
            aside.rename(victim / victim.name)
    elif action == "to file" and folder:
        shutil.rmtree(victim)
        victim.write_text("a folder once")
    elif action == "loop" and folder and not (victim / "loop").exists():
        (victim / "loop").symlink_to(victim.parent, target_is_directory=True)


@FUZZ
@given(data=st.data())
def test_spreadsheets_with_wrong_bytes(originals, data):
    root, _, _ = originals("samm")
    content = bytearray(sheet_of(root).read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(content)))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "SAMM").symlink_to(root / "SAMM", target_is_directory=True)
        torn = data.draw(st.booleans())
        path = Path(folder) / sheet_of(root).name
        path.write_bytes(bytes(content[:kept]) if torn else bytes(content))
        read_or_tell("samm", Path(folder))


def test_folders_of_the_copies_are_known(originals):
    for layout in OWNERS:
        assert all(folder.is_dir() for folder in clip_folders(originals(layout)[0], layout))
