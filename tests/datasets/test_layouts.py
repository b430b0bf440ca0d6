"""The contract of every reader: what people's copies are like, and what is told about them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from owner_copies import (
    WITH_SHEET,
    cells_of,
    clip_folders,
    column,
    header_row,
    sheet_of,
    takes_of,
    write,
    write_cells,
)

from mer_search.datasets import read, synthetic
from mer_search.datasets.images import numbered
from mer_search.datasets.owners import OWNERS
from mer_search.errors import InputError

QUICK = {"casme2", "samm", "smic-hs"}


def quick_first(layouts: Iterable[str]) -> list[Any]:
    """One layout of each kind by default, all of them under `make test`."""
    return [
        layout if layout in QUICK else pytest.param(layout, marks=pytest.mark.slow)
        for layout in sorted(layouts)
    ]


EVERY = quick_first(OWNERS)


@pytest.fixture(scope="session")
def originals(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("originals")
    return {layout: write(root / layout, layout) for layout in OWNERS}


@pytest.fixture
def copy_of(originals, tmp_path):
    """A copy of a layout to be mangled; frames stay links."""

    def make(layout: str) -> Path:
        shutil.copytree(originals[layout], tmp_path / "copy", symlinks=True)
        return tmp_path / "copy"

    return make


def summary(found) -> list[tuple[object, ...]]:
    return [
        (clip.key, clip.label, clip.onset, clip.apex, clip.offset, len(clip.frames))
        for clip in found.clips
    ]


def fault_of(layout: str, root: Path) -> str:
    (fault,) = read(layout, root, on_fault="skip").faults
    return fault


@pytest.mark.parametrize("layout", EVERY)
class TestGoodCopies:
    def test_every_clip_is_read(self, originals, layout):
        found = read(layout, originals[layout])
        assert found.faults == ()
        assert found.reader == layout
        assert len(found.clips) == len({clip.key for clip in found.clips}) == len(takes_of(layout))
        assert len(found.subjects) == 2
        assert set(found.counts.values()) <= {0, 2}
        for clip in found.clips:
            assert len(clip.frames) == 4
            assert (clip.onset, clip.offset) == (0, 3)
            assert clip.apex == (None if layout.startswith("smic") else 1)
            numbers = [number for number, _ in sorted(numbered(clip.frames[0].parent)[0].items())]
            assert list(clip.frames) == sorted(clip.frames, key=lambda path: len(path.name))
            assert all(before < after for before, after in pairwise(numbers))

    def test_archives_nest_their_folders_twice(self, originals, copy_of, layout):
        root = copy_of(layout)
        for top in [path for path in root.iterdir() if path.is_dir()]:
            inner = top / top.name
            top.rename(root / "moving")
            top.mkdir()
            (root / "moving").rename(inner)
        for clip in list(clip_folders(root, layout))[:1]:
            clip = root / clip.relative_to(root).parts[0] / clip.relative_to(root)
            clip.rename(clip.with_name("moving"))
            clip.mkdir()
            clip.with_name("moving").rename(clip / clip.name)
        assert summary(read(layout, root)) == summary(read(layout, originals[layout]))

    def test_stray_files_do_no_harm(self, originals, copy_of, layout):
        root = copy_of(layout)
        for folder in [root, *clip_folders(root, layout)]:
            for stray in ("Thumbs.db", ".DS_Store", "._1.jpg", "notes.txt", "1.jpg.lnk"):
                (folder / stray).write_bytes(b"stray")
            shadow = root / "__MACOSX" / folder.relative_to(root)
            shadow.mkdir(parents=True, exist_ok=True)
            (shadow / "._1.jpg").write_bytes(b"stray")
        (root / f"~${sheet_of(root).name}").write_bytes(b"lock")
        assert summary(read(layout, root)) == summary(read(layout, originals[layout]))

    def test_extensions_in_capitals(self, originals, copy_of, layout):
        root = copy_of(layout)
        for path in [path for path in root.rglob("*") if path.is_file()]:
            path.rename(path.with_suffix(path.suffix.upper()))
        assert summary(read(layout, root)) == summary(read(layout, originals[layout]))

    def test_a_link_to_the_frames(self, originals, tmp_path, layout):
        (tmp_path / "link").symlink_to(originals[layout], target_is_directory=True)
        found = read(layout, tmp_path / "link")
        assert summary(found) == summary(read(layout, originals[layout]))
        assert found.digest == read(layout, originals[layout]).digest

    def test_a_second_way_to_the_same_frames_is_no_second_copy(self, originals, copy_of, layout):
        root = copy_of(layout)
        (top,) = (path for path in root.iterdir() if path.is_dir())
        (root / "again").mkdir()
        (root / "again" / top.name).symlink_to(top, target_is_directory=True)
        assert summary(read(layout, root)) == summary(read(layout, originals[layout]))

    def test_folders_without_a_row_are_noted(self, copy_of, layout):
        root = copy_of(layout)
        first = next(clip_folders(root, layout))
        extra = first.with_name(re.sub(r"\d(?=\D*$)", "9", first.name) if layout != "casme3"
                                else first.name)  # fmt: skip
        if layout == "casme3":
            extra = first.parent.with_name("z") / "color"
            extra.parent.mkdir()
        shutil.copytree(first, extra)
        found = read(layout, root)
        if layout.startswith("smic"):  # folders are the annotation
            assert len(found.clips) == len(takes_of(layout)) + 1
        else:
            assert "1 folders with frames have no row in the spreadsheet" in " ".join(found.notes)
            assert len(found.clips) == len(takes_of(layout))


@pytest.mark.parametrize("layout", EVERY)
class TestDamagedCopies:
    def test_a_missing_clip_is_named(self, copy_of, layout):
        root = copy_of(layout)
        gone = list(clip_folders(root, layout))[1]
        shutil.rmtree(gone)
        found = read(layout, root, on_fault="skip")
        lost = len(takes_of(layout)) - len(found.clips)
        assert lost == len(found.faults) >= 1
        for fault in found.faults:
            assert "no folder with its frames; " in fault
        with pytest.raises(InputError, match="no folder with its frames; "):
            read(layout, root)

    def test_an_unreadable_frame(self, copy_of, layout):
        root = copy_of(layout)
        folder = next(clip_folders(root, layout))
        victim = min(
            (path for path in folder.iterdir()), key=lambda p: int(re.findall(r"\d+", p.stem)[-1])
        )
        victim.unlink()
        victim.write_bytes(b"no picture")
        assert re.search(r"is no readable image .+; copy it again", fault_of(layout, root))

    def test_two_copies_of_the_frames(self, copy_of, layout):
        root = copy_of(layout)
        (top,) = (path for path in root.iterdir() if path.is_dir())
        shutil.copytree(top, root / "again" / top.name)
        with pytest.raises(InputError, match=r"stand in several folders .+ as root"):
            read(layout, root)

    def test_no_frames(self, copy_of, layout):
        root = copy_of(layout)
        for top in [path for path in root.iterdir() if path.is_dir()]:
            shutil.rmtree(top)
        with pytest.raises(InputError, match=r"no folder .+|no folder with its frames"):
            read(layout, root)

    def test_spreadsheet_that_is_not_one(self, copy_of, layout):
        root = copy_of(layout)
        sheet_of(root).write_text("<html>404</html>")
        with pytest.raises(InputError, match=r"is no Excel spreadsheet \(.+copy the owner's"):
            read(layout, root)

    def test_empty_spreadsheet(self, copy_of, layout):
        root = copy_of(layout)
        write_cells(sheet_of(root), [])
        with pytest.raises(InputError, match="holds no row; copy the owner's spreadsheet again"):
            read(layout, root)

    def test_missing_columns_are_all_told(self, copy_of, layout):
        root = copy_of(layout)
        path = sheet_of(root)
        cells = cells_of(path)
        header = cells[header_row(cells)]
        for name in ("Filename", "fold_name", "Estimated Emotion", "Emotion", "emotion"):
            if name in header:
                header[header.index(name)] = None
        write_cells(path, cells)
        with pytest.raises(InputError, match=r"2 faults\n  - column .+ is missing; .+\n  - column"):
            read(layout, root)

    def test_a_word_that_is_no_emotion(self, copy_of, layout):
        root = copy_of(layout)
        path = sheet_of(root)
        cells = cells_of(path)
        row = header_row(cells) + 1
        cells[row][column(cells, "Estimated Emotion", "Emotion", "emotion")] = "surprice"
        write_cells(path, cells)
        if layout.startswith("smic"):  # the folder tells it
            assert len(read(layout, root).clips) == len(takes_of(layout))
        else:
            assert re.search(rf"row {row + 1} .+'surprice' is no emotion of .+ did you mean 'surp",
                             fault_of(layout, root))  # fmt: skip


@pytest.mark.parametrize("layout", quick_first(WITH_SHEET))
class TestSpreadsheets:
    def test_without_one(self, copy_of, layout):
        root = copy_of(layout)
        sheet_of(root).unlink()
        with pytest.raises(InputError, match=r"no spreadsheet \(.+put the one that came with the"):
            read(layout, root)

    def test_root_may_be_the_spreadsheet(self, originals, layout):
        root = originals[layout]
        assert summary(read(layout, sheet_of(root))) == summary(read(layout, root))

    def test_as_csv(self, originals, copy_of, layout):
        root = copy_of(layout)
        path = sheet_of(root)
        pd.DataFrame(cells_of(path)).to_csv(path.with_suffix(".csv"), header=False, index=False)
        path.unlink()
        assert summary(read(layout, root)) == summary(read(layout, originals[layout]))

    def test_columns_by_name_in_any_order_case_and_place(self, originals, copy_of, layout):
        root = copy_of(layout)
        path = sheet_of(root)
        cells = [row[::-1] for row in cells_of(path)]
        index = header_row(cells)
        cells[index] = [name and f" {str(name).upper().replace(' ', '_')}" for name in cells[index]]
        write_cells(path, [["exported"], [None], *cells])
        assert summary(read(layout, root)) == summary(read(layout, originals[layout]))

    def test_another_sheet_before_it(self, originals, copy_of, layout):
        root = copy_of(layout)
        path = sheet_of(root)
        cells = pd.DataFrame(cells_of(path), dtype=object)
        with pd.ExcelWriter(path) as writer:
            pd.DataFrame([["read me"], ["Subject"]]).to_excel(writer, sheet_name="About")
            cells.to_excel(writer, sheet_name="Data", header=False, index=False)
        assert summary(read(layout, root)) == summary(read(layout, originals[layout]))

    def test_frames_out_of_order(self, copy_of, layout):
        root = copy_of(layout)
        path = sheet_of(root)
        cells = cells_of(path)
        row = header_row(cells) + 2
        last = column(cells, "OffsetFrame", "Offset Frame", "Offset")
        cells[row][last] = 2 if layout != "mmew" else 0
        write_cells(path, cells)
        assert re.search(rf"row {row + 1} .+ must not lie after .+; mend", fault_of(layout, root))

    def test_missing_frames(self, copy_of, layout):
        root = copy_of(layout)
        folder = next(clip_folders(root, layout))
        numbers = numbered(folder)[0]
        numbers[sorted(numbers)[1]].unlink()
        assert re.search(r"lacks frames \d+ of .+; complete the copy", fault_of(layout, root))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Full copies, written when a test asks for them."""
    made: dict[str, Path] = {}

    def get(layout: str) -> Path:
        if layout not in made:
            root = tmp_path_factory.mktemp("full") / layout
            made[layout] = synthetic.write_full(root, layout=layout)
        return made[layout]

    return get


@pytest.mark.slow
class TestFullCopies:
    """The public record: what FACTS of the field say a full copy holds."""

    def test_samm(self, full):
        five = read("samm", full("samm"))
        assert (len(five.clips), len(five.subjects), five.faults) == (136, 29, ())
        assert five.counts == {
            "anger": 57, "contempt": 12, "happiness": 26, "surprise": 15, "others": 26,
        }  # fmt: skip
        three = read("samm", full("samm"), classes="megc-3")
        assert (len(three.clips), len(three.subjects)) == (133, 28)
        assert three.counts == {"negative": 92, "positive": 26, "surprise": 15}
        objective = read("samm", full("samm"), classes="objective-5")
        assert objective.counts == {"I": 24, "II": 13, "III": 20, "IV": 8, "V": 3}
        seven = read("samm", full("samm"), classes="objective-7")
        assert (len(seven.clips), seven.counts["VII"]) == (159, 84)

    def test_megc2019(self, full):
        found = read("megc2019", full("megc2019"))
        assert (len(found.clips), len(found.subjects), found.faults) == (442, 68, ())
        assert found.counts == {"negative": 250, "positive": 109, "surprise": 83}
        table = found.to_pandas()
        assert table.groupby("dataset").size().to_dict() == {
            "casme2": 145, "samm": 133, "smic": 164,
        }  # fmt: skip
        assert table.groupby("dataset").subject.nunique().to_dict() == {
            "casme2": 24, "samm": 28, "smic": 16,
        }  # fmt: skip
        by = table.groupby(["dataset", "label"], observed=True).size().unstack().to_dict("index")
        assert by == {
            "casme2": {"negative": 88, "positive": 32, "surprise": 25},
            "samm": {"negative": 92, "positive": 26, "surprise": 15},
            "smic": {"negative": 70, "positive": 51, "surprise": 43},
        }
        assert len(found.corrections) == 2

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("layout", "classes", "clips", "subjects"),
        [
            ("casme2", "casme2-5", 246, 26), ("casme2", "megc-3", 145, 24),
            ("smic-hs", None, 164, 16), ("smic-vis", None, 71, 8), ("smic-nir", None, 71, 8),
            ("casme3", None, 860, 100), ("casme3", "megc-3+others", 860, 100),
            ("mmew", None, 234, 30), ("4dme", None, 267, 41),
        ],
    )  # fmt: skip
    def test_others(self, full, layout, classes, clips, subjects):
        found = read(layout, full(layout), classes=classes)
        assert (len(found.clips), len(found.subjects), found.faults) == (clips, subjects, ())
        annotated = sum(int(note.split()[0]) for note in found.notes if "outside" in note)
        assert annotated + clips == len(OWNERS[layout].full())
