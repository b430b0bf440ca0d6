"""What is particular to single readers: spellings, several files, the composite's messages."""

from __future__ import annotations

import shutil
from pathlib import Path

import owner_copies as copies
import pandas as pd
import pytest

from mer_search.datasets import read, synthetic
from mer_search.datasets.classes import objective_class
from mer_search.errors import InputError


def fault_of(layout: str, root: Path) -> str:
    (fault,) = read(layout, root, on_fault="skip").faults
    return fault


class TestSamm:
    def test_subjects_and_clips_without_their_zeros(self, tmp_path):
        root = copies.write(tmp_path / "SAMM", "samm")
        before = [clip.key for clip in read("samm", root).clips]
        path = copies.sheet_of(root)
        cells = copies.cells_of(path)
        subject, name = copies.column(cells, "Subject"), copies.column(cells, "Filename")
        for row in cells[copies.header_row(cells) + 1 :]:
            row[subject] = int(row[subject])
            row[name] = row[name].lstrip("0")
        copies.write_cells(path, cells)
        for folder in list(copies.clip_folders(root, "samm")):
            folder.rename(folder.with_name(folder.name.lstrip("0")))
        assert [clip.key for clip in read("samm", root).clips] == before

    def test_clips_without_a_folder_of_their_subject(self, tmp_path):
        root = copies.write(tmp_path / "SAMM", "samm")
        for folder in list(copies.clip_folders(root, "samm")):
            folder.rename(root / folder.name)
        assert len(read("samm", root).clips) == 10


@pytest.mark.parametrize(
    ("cell", "number"),
    [("III", "3"), ("3", "3"), (" vii ", "7"), ("Class I", "1"), ("8", None), ("", None)],
)
def test_objective_classes_are_numbers_or_roman(cell, number):
    assert objective_class(cell) == number


class TestObjective:
    def objective(self, tmp_path, value) -> Path:
        """A copy whose clips are of class I, the first of `value`."""
        root = copies.write(tmp_path / "SAMM", "samm")
        path = copies.sheet_of(root)
        cells = copies.cells_of(path)
        at = copies.column(cells, "Objective Classes")
        rows = cells[copies.header_row(cells) + 1 :]
        for index, row in enumerate(rows):
            row[at] = "I" if index % 2 else 2
        rows[0][at] = value
        copies.write_cells(path, cells)
        return root

    def test_both_spellings(self, tmp_path):
        found = read("samm", self.objective(tmp_path, 2), classes="objective-5")
        assert found.counts == {"I": 5, "II": 5, "III": 0, "IV": 0, "V": 0}

    def test_a_class_that_is_none(self, tmp_path):
        found = read(
            "samm", self.objective(tmp_path, "VIII"), classes="objective-5", on_fault="skip"
        )
        assert "'VIII' is no objective class; write I to VII" in found.faults[0]

    def test_casme2_has_them_in_one_coding_only(self, tmp_path):
        root = copies.write(tmp_path / "C", "casme2")
        with pytest.raises(InputError, match="'Objective Classes', which this spreadsheet lacks"):
            read("casme2", root, classes="objective-5")

    def test_smic_has_none(self, tmp_path):
        with pytest.raises(InputError, match="SMIC has no objective classes; choose classes of"):
            read("smic-hs", copies.write(tmp_path / "S", "smic-hs"), classes="objective-5")


class TestSmic:
    def test_names_are_padded_as_in_the_challenge(self, tmp_path):
        found = read("smic-hs", copies.write(tmp_path / "S", "smic-hs"))
        assert {clip.subject for clip in found.clips} == {"s01", "s02"}
        assert found.clips[0].key == "smic/s01/s01_ne_03"

    def test_the_spreadsheet_is_not_needed(self, tmp_path):
        root = copies.write(tmp_path / "S", "smic-hs")
        before = read("smic-hs", root)
        copies.sheet_of(root).unlink()
        assert read("smic-hs", root).clips == before.clips

    def test_other_cameras_are_passed_over(self, tmp_path):
        root = copies.write(tmp_path / "S", "smic-hs")
        shutil.copytree(root / "HS", root / "NIR")
        assert len(read("smic-hs", root).clips) == len(copies.takes_of("smic-hs"))
        copies.sheet_of(root).rename(tmp_path / "away.xlsx")
        assert {clip.dataset for clip in read("smic-nir", root).clips} == {"smic-nir"}

    def test_names_that_contradict_their_folders(self, tmp_path):
        root = copies.write(tmp_path / "S", "smic-hs")
        copies.sheet_of(root).unlink()
        first = next(copies.clip_folders(root, "smic-hs"))
        first.rename(first.with_name("s1_sur_09"))
        assert "its name says surprise, its folder positive; mend" in fault_of("smic-hs", root)
        (first.with_name("s1_sur_09")).rename(first.with_name("s3_po_09"))
        assert "its name is not of subject s01; move it or" in fault_of("smic-hs", root)

    def test_a_clip_without_frames(self, tmp_path):
        root = copies.write(tmp_path / "S", "smic-hs")
        for path in next(copies.clip_folders(root, "smic-hs")).iterdir():
            path.unlink()
        assert "holds no numbered images; complete the copy" in fault_of("smic-hs", root)

    def test_gaps_in_numbers_are_noted(self, tmp_path):
        root = copies.write(tmp_path / "S", "smic-hs")
        frames = sorted(next(copies.clip_folders(root, "smic-hs")).iterdir())
        frames[1].unlink()
        notes = " ".join(read("smic-hs", root).notes)
        assert "smic/s01/s01_po_01: its frames are not numbered in one run" in notes

    def test_the_spreadsheet_contradicts(self, tmp_path):
        root = copies.write(tmp_path / "S", "smic-hs")
        path = copies.sheet_of(root)
        cells = copies.cells_of(path)
        cells[copies.header_row(cells) + 1][copies.column(cells, "Emotion")] = "negative"
        copies.write_cells(path, cells)
        assert "says negative, the clip's name positive; " in fault_of("smic-hs", root)

    def test_clips_that_a_users_classes_leave_out_are_counted(self, tmp_path):
        root = copies.write(tmp_path / "S", "smic-hs")
        found = read("smic-hs", root, classes={"-": ["negative"], "+": ["positive"]})
        assert len(found.clips) == 4
        assert "2 annotated clips are outside the classes: surprise 2" in found.notes


class TestCasme3:
    def test_two_expressions_in_one_recording_are_two_clips(self, tmp_path):
        found = read("casme3", copies.write(tmp_path / "C", "casme3"))
        assert {clip.name for clip in found.clips if clip.subject == "spNO.1"} == {
            "a_12", "a_212", "b_12", "b_212", "c_12",
        }  # fmt: skip

    def test_depth_maps_are_not_read(self, tmp_path):
        root = copies.write(tmp_path / "C", "casme3")
        folder = next(copies.clip_folders(root, "casme3"))
        shutil.copytree(folder, folder.with_name("depth"))
        assert len(read("casme3", root).clips) == 10

    def test_one_folder_per_expression(self, tmp_path):
        root = copies.write(tmp_path / "C", "casme3")
        before = [clip.key for clip in read("casme3", root).clips]
        for clip in read("casme3", root).clips:
            folder = root / "Part_A_ME_clip" / "frame" / f"{clip.subject}_{clip.name}"
            folder.mkdir(parents=True)
            for path in clip.frames:
                shutil.copy(path, folder)
        shutil.rmtree(root / "part_A")
        assert [clip.key for clip in read("casme3", root).clips] == before


def test_an_mmew_name_tells_its_subject(tmp_path):
    root = copies.write(tmp_path / "M", "mmew")
    path = copies.sheet_of(root)
    cells = copies.cells_of(path)
    for row in cells[copies.header_row(cells) + 1 :]:
        row[copies.column(cells, "Subject")] = "x"
    copies.write_cells(path, cells)
    assert read("mmew", root).subjects == (("mmew", "S01"), ("mmew", "S02"))


@pytest.mark.slow
class TestComposite:
    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, tmp_path_factory) -> Path:
        return synthetic.write_full(tmp_path_factory.mktemp("m") / "megc", layout="megc2019")

    @pytest.fixture
    def linked(self, whole, tmp_path) -> Path:
        """Links to the three data sets under other spellings of their names."""
        for name, link in (("casme2", "CASME-II"), ("samm", "SAMM_v2"), ("smic", "SMIC (HS)")):
            (tmp_path / "all" / link).parent.mkdir(exist_ok=True)
            (tmp_path / "all" / link).symlink_to(whole / name, target_is_directory=True)
        return tmp_path / "all"

    def test_folders_may_be_links_with_other_spellings(self, linked):
        assert len(read("megc2019", linked).clips) == 442

    def test_missing_and_doubled_folders_are_told_at_once(self, linked):
        (linked / "SAMM_v2").unlink()
        (linked / "smic2").mkdir()
        message = (
            r"2 faults\n  - no folder samm in it; put the data set, or a link to it, there\n"
            r"  - 2 folders are named like smic \(SMIC \(HS\), smic2\); keep one"
        )
        with pytest.raises(InputError, match=message):
            read("megc2019", linked)

    def test_what_keeps_a_part_from_being_read_is_told_with_its_name(self, linked):
        (linked / "SAMM_v2").unlink()
        (linked / "SAMM_v2").mkdir()
        (linked / "SMIC (HS)").unlink()
        (linked / "SMIC (HS)").mkdir()
        with pytest.raises(InputError, match=r"(?s)samm: .+no spreadsheet.+smic: .+no folder HS/"):
            read("megc2019", linked)

    def test_fewer_than_442_clips_are_a_fault(self, whole, linked):
        (linked / "SMIC (HS)").unlink()
        (linked / "smic").mkdir()
        shutil.copytree(whole / "smic" / "HS" / "s1", linked / "smic" / "HS" / "s1")
        found = read("megc2019", linked, on_fault="skip")
        assert found.faults == (
            "smic: 11 clips can be used, the composite has 164; complete the copy",
        )
        assert len(found.clips) == 145 + 133 + 11

    def test_its_classes_are_fixed(self, linked):
        with pytest.raises(InputError, match="megc2019 has the classes megc-3, not 'casme2-5'"):
            read("megc2019", linked, classes="casme2-5")


def test_clips_as_a_table(tmp_path):
    found = read("smic-hs", copies.write(tmp_path / "S", "smic-hs"))
    table = found.to_pandas()
    assert list(table.columns) == [
        "dataset", "subject", "clip", "label", "onset", "apex", "offset", "length", "frames",
    ]  # fmt: skip
    assert len(table) == len(found.clips)
    assert table.label.cat.categories.tolist() == list(found.classes)
    assert table.label.value_counts().to_dict() == found.counts
    assert table.apex.isna().all()
    assert table.offset.dtype == pd.Int64Dtype()
    assert table.frames[0] == found.clips[0].frames


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    import os

    root = copies.write(tmp_path / "S", "samm")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("SAMM"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"SAMM: cannot be read .Permission denied.; mend its"):
        read("samm", root)
