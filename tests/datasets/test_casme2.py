"""CASME II: full counts, the layouts archives come in, the quirks, and every message."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from casme2_copies import FOUR, HEADER_2014, Row, jpeg

from mer_search.datasets import read
from mer_search.errors import InputError


def fault_of(root, **options) -> str:
    """The only fault of a copy that can otherwise be read."""
    (fault,) = read("casme2", root, on_fault="skip", **options).faults
    return fault


class TestFullCopy:
    @pytest.mark.parametrize(
        ("date", "version", "clips", "surprise"),
        [("20140508", "2014-05-08", 246, 25), ("20190701", "2019-07-01", 249, 28)],
    )
    def test_five_classes(self, full_copy, date, version, clips, surprise):
        found = read("casme2", full_copy(date), classes="casme2-5")
        assert (found.version, len(found.clips), len(found.subjects)) == (version, clips, 26)
        assert found.counts == {
            "happiness": 32, "surprise": surprise, "disgust": 63, "repression": 27, "others": 99,
        }  # fmt: skip

    @pytest.mark.parametrize("date", ["20140508", "20190701"])
    def test_megc_has_the_same_clips_in_both_codings(self, full_copy, date):
        found = read("casme2", full_copy(date), classes="megc-3")
        assert (len(found.clips), len(found.subjects)) == (145, 24)
        assert found.counts == {"negative": 88, "positive": 32, "surprise": 25}

    def test_user_map_leaves_other_emotions_out(self, full_copy):
        classes = {"negative": ["disgust", "repression"], "positive": ["happiness"]}
        assert read("casme2", full_copy("20140508"), classes=classes).counts == {
            "negative": 90, "positive": 32,
        }  # fmt: skip


class TestLayouts:
    @pytest.mark.parametrize(
        ("top", "prefix", "margin"),
        [
            ("CASME2_RAW_selected", "img", 0),
            ("CASME2_RAW_selected/CASME2_RAW_selected", "img", 0),
            ("CASME2-RAW", "img", 5),
            ("Cropped", "reg_img", 0),
            ("Cropped/Cropped", "reg_img", 0),
        ],
    )
    def test_clips_are_cut_to_onset_and_offset_in_order_of_number(self, copy, top, prefix, margin):
        copy.frames(FOUR, top=top, prefix=prefix, margin=margin)
        copy.coding(FOUR)
        found = read("casme2", copy.root)
        assert [clip.key for clip in found.clips] == [
            "casme2/sub01/EP01_01", "casme2/sub01/EP02_01f", "casme2/sub02/EP01_2",
            "casme2/sub02/EP09f",
        ]  # fmt: skip
        for clip in found.clips:
            # 9 before 10: as text, "img10" would come first.
            assert [path.name for path in clip.frames] == [f"{prefix}{n}.jpg" for n in (9, 10, 11)]
            assert (clip.onset, clip.apex, clip.offset) == (0, 1, 2)
        assert found.boundaries == "annotated"

    def test_stray_files_are_no_frames(self, copy):
        root = copy.write(FOUR)
        for stray in ("Thumbs.db", "img9.lnk", "._img9.jpg", "cover.jpg"):
            (copy.folder(FOUR[0]) / stray).write_bytes(b"stray")
            (copy.folder(FOUR[0]).parent / stray).write_bytes(b"stray")
        (root / "~$CASME2-coding-20140508.xlsx").write_bytes(b"lock")
        shadow = root / "__MACOSX" / "sub01" / FOUR[0].name
        shadow.mkdir(parents=True)
        (shadow / "._img9.jpg").write_bytes(b"stray")
        assert read("casme2", root).clips[0].frames == tuple(
            copy.folder(FOUR[0]) / f"img{n}.jpg" for n in (9, 10, 11)
        )

    def test_root_may_be_one_layout_with_the_spreadsheet_beside_it(self, copy):
        root = copy.write(FOUR)
        copy.frames(FOUR, top="Cropped", prefix="reg_img")
        (clip, *_) = read("casme2", root / "Cropped").clips
        assert clip.frames[0].name == "reg_img9.jpg"

    def test_root_may_be_the_spreadsheet(self, copy):
        root = copy.write(FOUR)
        later = copy.coding(FOUR, name="CASME2-coding-20190701.xlsx")
        assert read("casme2", later).version == "2019-07-01"
        assert len(read("casme2", root / "CASME2-coding-20140508.xlsx").clips) == 4

    def test_digest_does_not_depend_on_the_place(self, copy, tmp_path):
        before = read("casme2", copy.write(FOUR)).digest
        moved = copy.root.rename(tmp_path / "elsewhere")
        assert read("casme2", moved).digest == before


class TestQuirks:
    @pytest.mark.parametrize("subject", [1, 1.0, "1", "01", " 01 ", "sub01", "Sub1"])
    def test_subjects_are_padded(self, copy, subject):
        found = read("casme2", copy.with_changed(subject=subject))
        assert found.clips[0].subject == "sub01"

    @pytest.mark.parametrize(
        ("apex", "position"), [("/", None), (None, None), (9, 0), ("10", 1), (10.0, 1)]
    )
    def test_apex(self, copy, apex, position):
        found = read("casme2", copy.with_changed(apex=apex))
        assert (found.faults, found.clips[0].apex) == ((), position)

    def test_columns_are_found_by_name(self, copy):
        copy.frames(FOUR)
        copy.coding(FOUR, header=["estimated emotion ", "Offset Frame", None, "My remarks",
                                  "ApexFrame", "onsetframe", "Filename", "Subject"])  # fmt: skip
        assert len(read("casme2", copy.root).clips) == 4

    @pytest.mark.parametrize(
        ("name", "version"), [("mine.xlsx", "2014-05-08"), ("coding 2019.xlsx", "2019-07-01")]
    )
    def test_version_of_a_renamed_spreadsheet_is_told_by_its_columns(self, copy, name, version):
        copy.frames(FOUR)
        copy.coding(FOUR, name=name)
        assert read("casme2", copy.root).version == version

    def test_emotions_outside_the_protocol_are_no_faults(self, copy):
        root = copy.write(FOUR)
        copy.coding([*FOUR, Row("02", "EP03_01", emotion="fear", onset="?")])
        assert len(read("casme2", root).clips) == 4

    def test_empty_rows_are_passed_over(self, copy):
        root = copy.write(FOUR)
        blank = Row(None, None, None, None, None, None, None)
        copy.coding([*FOUR[:2], blank, *FOUR[2:], blank])
        assert len(read("casme2", root).clips) == 4


class TestRoot:
    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match=r"nowhere: no such folder; give the one that holds"):
            read("casme2", tmp_path / "nowhere")

    def test_without_spreadsheet(self, copy):
        copy.frames(FOUR)
        with pytest.raises(InputError, match=r"no spreadsheet \(CASME2-coding-20140508.xlsx or"):
            read("casme2", copy.root)

    def test_spreadsheet_that_is_not_one(self, copy):
        copy.write(FOUR)
        (copy.root / "CASME2-coding-20140508.xlsx").write_text("<html>404</html>")
        with pytest.raises(InputError, match=r"20140508.xlsx: is no Excel spreadsheet \(.+copy"):
            read("casme2", copy.root)

    def test_two_spreadsheets(self, copy):
        copy.write(FOUR)
        copy.coding(FOUR, name="CASME2-coding-20190701.xlsx")
        with pytest.raises(InputError, match=r"2 spreadsheets .+ may disagree; keep one, or give"):
            read("casme2", copy.root)

    def test_two_layouts(self, copy):
        root = copy.write(FOUR)
        copy.frames(FOUR, top="Cropped", prefix="reg_img")
        with pytest.raises(InputError, match=r"frames of 4 clips stand in several folders .+ root"):
            read("casme2", root)

    def test_without_any_frames(self, copy):
        copy.coding(FOUR)
        with pytest.raises(InputError, match=r"no folder subXX/<clip> .+ unpack CASME2_RAW_sel"):
            read("casme2", copy.root)


class TestColumns:
    def refuse(self, copy, header, match):
        copy.frames(FOUR)
        copy.coding(FOUR, header=header)
        with pytest.raises(InputError, match=match):
            read("casme2", copy.root)

    def test_missing_ones_are_all_told(self, copy):
        header = [name for name in HEADER_2014 if name not in ("ApexFrame", "Filename")]
        message = r"2 faults\n  - column 'Filename' is missing; .+\n  - column 'ApexFrame' is miss"
        self.refuse(copy, header, message)

    def test_nearly_right_one(self, copy):
        header = ["ApexFrames" if name == "ApexFrame" else name for name in HEADER_2014]
        self.refuse(copy, header, r"'ApexFrame' is missing; did you mean 'ApexFrames'\?")

    def test_doubled_one(self, copy):
        self.refuse(copy, [*HEADER_2014, "ApexFrame"], r"'ApexFrame' occurs 2 times; keep one")

    def test_strange_extra_one_does_no_harm(self, copy):
        copy.frames(FOUR)
        copy.coding(FOUR, header=[*HEADER_2014, "My remarks"])
        assert len(read("casme2", copy.root).clips) == 4


class TestRows:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"apex": 12}, r"ApexFrame 12 must lie within OnsetFrame\.\.OffsetFrame 9\.\.11; mend"),
            ({"apex": 3}, r"ApexFrame 3 must lie within .+, or write '/' for an apex that is not"),
            ({"apex": "ten"}, r"ApexFrame 'ten' must be a frame number or '/'"),
            ({"onset": 20}, r"OnsetFrame 20 must not lie after OffsetFrame 11"),
            ({"onset": "?"}, r"OnsetFrame '\?' must be a frame number; mend the cell"),
            ({"offset": None}, r"OffsetFrame '' must be a frame number"),
            ({"emotion": "hapiness"}, r"'hapiness' is no emotion .+ did you mean 'happiness'\?"),
            ({"emotion": None}, r"'' is no emotion of CASME II; choose from disgust, fear"),
            ({"name": "EP01_1"}, r"no folder with its frames; .+did you mean 'EP01_01'\?"),
            ({"subject": 7}, r"no folder with its frames; there is no folder sub07 with clips"),
            ({"subject": None}, r"row 2: Subject and Filename must not be empty; fill them in"),
            ({"offset": 14}, r"lacks frames 12\.\.14 of 9\.\.14 \(it holds 9\.\.11\); complete"),
        ],
    )
    def test_fault_names_the_row_the_value_and_the_cure(self, copy, changes, message):
        fault = fault_of(copy.with_changed(**changes))
        assert fault.startswith("CASME2-coding-20140508.xlsx row 2")
        assert re.search(message, fault), fault

    def test_clip_that_is_annotated_twice_is_not_guessed_at(self, copy):
        copy.write(FOUR)
        copy.coding([*FOUR, replace(FOUR[0], emotion="others")])
        found = read("casme2", copy.root, on_fault="skip")
        assert len(found.clips) == 3
        for row, fault in zip((2, 6), found.faults, strict=True):
            assert re.search(rf"row {row} \(sub01/EP01_01\) is annotated more than once", fault)


class TestFrames:
    def test_empty_folder(self, copy):
        root = copy.write(FOUR)
        for path in copy.folder(FOUR[0]).iterdir():
            path.unlink()
        assert "EP01_01 holds no numbered images; complete the copy" in fault_of(root)

    def test_gap(self, copy):
        root = copy.write(FOUR)
        (copy.folder(FOUR[0]) / "img10.jpg").unlink()
        assert "lacks frames 10 of 9..11 (it holds 9, 11); complete the copy" in fault_of(root)

    @pytest.mark.parametrize(
        ("number", "content", "message"),
        [
            (11, b"", r"img11.jpg is empty; copy it again"),
            (11, b"no picture at all", r"img11.jpg is no readable image \(.+\); copy it again"),
            (9, jpeg(64, 64)[:-300], r"img9.jpg is no readable image \(.*[Tt]runcated.*\); copy"),
            (10, jpeg(9, 9), r"differ in size: 8x6 \(img9.jpg\), 9x9 \(img10.jpg\); copy the clip"),
        ],
    )
    def test_unreadable(self, copy, number, content, message):
        root = copy.write(FOUR)
        path = copy.folder(FOUR[0]) / f"img{number}.jpg"
        path.unlink()  # the files are links to one another
        path.write_bytes(content)
        fault = fault_of(root)
        assert re.search(message, fault), fault

    def test_two_files_of_one_number(self, copy):
        root = copy.write(FOUR)
        (copy.folder(FOUR[0]) / "img09.jpg").write_bytes(jpeg())
        assert "img09.jpg and img9.jpg in" in fault_of(root)

    def test_dangling_link_is_a_missing_frame(self, copy):
        root = copy.write(FOUR)
        path = copy.folder(FOUR[0]) / "img10.jpg"
        path.unlink()
        path.symlink_to("gone.jpg")
        assert "lacks frames 10" in fault_of(root)
