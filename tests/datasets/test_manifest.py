"""Manifests: order of frames, images and arrays, and a message for every fault."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from casme2_copies import jpeg

from mer_search.datasets import read
from mer_search.errors import InputError

HEADER = "dataset,subject,clip,label,path,frame"
ROWS = (
    "smic,s01,c1,negative,a.npy,2",
    "smic,s01,c1,negative,b.npy,10",
    "smic,s01,c1,negative,c.npy,1",
    "samm,006,c1,positive,maps/d.npy,",
    "samm,006,c2,Surprise,a.npy,",
)


@pytest.fixture
def manifest(tmp_path: Path):
    (tmp_path / "maps").mkdir()
    for name in ("a", "b", "c", "maps/d"):
        np.save(tmp_path / f"{name}.npy", np.zeros((4, 4, 3), np.float32))
    np.save(tmp_path / "large.npy", np.zeros((5, 4, 3), np.float32))
    np.save(tmp_path / "flat.npy", np.zeros((4, 4), np.float32))
    np.save(tmp_path / "words.npy", np.array([[["a"]]]))
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "one.jpg").write_bytes(jpeg())
    (tmp_path / "two.jpg").write_bytes(jpeg(9, 9))
    (tmp_path / "torn.jpg").write_bytes(b"")
    (tmp_path / "note.txt").write_text("note")

    def write(*rows: str, header: str = HEADER) -> Path:
        path = tmp_path / "maps.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path

    return write


def names(clip) -> list[str]:
    return [path.name for path in clip.frames]


def test_rows_are_clips_and_labels_are_classes(manifest, tmp_path):
    found = read("manifest", manifest(*ROWS))
    assert found.classes == ("negative", "positive", "surprise")
    assert [clip.key for clip in found.clips] == ["samm/006/c1", "samm/006/c2", "smic/s01/c1"]
    assert found.clips[0].frames == (tmp_path / "maps" / "d.npy",)
    assert (found.clips[0].onset, found.clips[0].apex, found.clips[0].offset) == (None,) * 3


def test_frames_are_ordered_by_number(manifest):
    assert names(read("manifest", manifest(*ROWS)).clips[2]) == ["c.npy", "a.npy", "b.npy"]


def test_frames_are_ordered_by_row_without_the_column(manifest):
    rows = [row.rsplit(",", 1)[0] for row in ROWS]
    found = read("manifest", manifest(*rows, header=HEADER.removesuffix(",frame")))
    assert names(found.clips[2]) == ["a.npy", "b.npy", "c.npy"]


def test_columns_may_stand_in_any_order_and_rows_be_blank(manifest):
    header = "path, label,clip,subject,dataset"
    path = manifest("a.npy,x, c1,s1,d", "", "b.npy,y,c2 ,s2,d", ",,,,", header=header)
    assert [clip.key for clip in read("manifest", path).clips] == ["d/s1/c1", "d/s2/c2"]


def test_spreadsheet_programs_put_a_mark_before_the_header(manifest):
    assert len(read("manifest", manifest(*ROWS, header="\ufeff" + HEADER)).clips) == 3


def test_images_of_two_clips_may_differ_in_size(manifest):
    path = manifest("d,s1,c1,x,one.jpg,", "d,s2,c2,y,two.jpg,")
    assert len(read("manifest", path).clips) == 2


def test_class_maps_apply_to_labels(manifest):
    found = read("manifest", manifest(*ROWS), classes={"-": ["negative"], "+": ["positive"]})
    assert found.counts == {"-": 1, "+": 1}
    assert read("manifest", manifest(*ROWS), classes="megc-3").counts == {
        "negative": 1, "positive": 1, "surprise": 1,
    }  # fmt: skip


def test_class_map_with_a_label_that_is_not_there(manifest):
    with pytest.raises(InputError, match=r"no emotion 'surprize'; did you mean 'surprise'\?"):
        read("manifest", manifest(*ROWS), classes={"a": ["surprize"], "b": ["negative"]})


def test_a_label_that_a_built_in_map_cannot_mean_is_a_fault(manifest):
    path = manifest(*ROWS, "d,s9,c9,Negativ,b.npy,", "d,s9,c8,others,b.npy,")
    found = read("manifest", path, classes="megc-3", on_fault="skip")
    (fault,) = found.faults
    assert fault == (
        "clip d/s9/c9: label 'Negativ' is no emotion; did you mean 'negative'? "
        "(or write data.classes as a map)"
    )
    assert found.notes == ("1 annotated clips are outside the classes: others 1",)
    with pytest.raises(InputError, match="did you mean 'negative'"):
        read("manifest", path, classes="megc-3")


def test_a_map_of_the_users_own_may_leave_labels_out(manifest):
    path = manifest(*ROWS, "d,s9,c9,negativ,b.npy,", "d,s9,c8,blink,b.npy,")
    found = read("manifest", path, classes={"-": ["negative"], "+": ["positive", "surprise"]})
    assert found.faults == ()
    assert found.notes == (
        "2 annotated clips are outside the classes: negativ 1, blink 1",
        "label 'negativ' is in no class; did you mean 'negative'?",
    )


def test_objective_classes_in_a_manifest(manifest):
    rows = ["d,s1,c1,III,a.npy,", "d,s2,c2,1,b.npy,", "d,s2,c3,VII,b.npy,", "d,s2,c4,X,b.npy,"]
    found = read("manifest", manifest(*rows), classes="objective-5", on_fault="skip")
    assert {clip.name: clip.label for clip in found.clips} == {"c1": "III", "c2": "I"}
    assert found.notes == ("1 annotated clips are outside the classes: vii 1",)
    assert found.faults == ("clip d/s2/c4: label 'X' is no objective class; write I to VII",)


def test_digest_follows_the_arrays(manifest, tmp_path):
    path = manifest(*ROWS)
    before = read("manifest", path).digest
    np.save(tmp_path / "c.npy", np.ones((4, 4, 3), np.float32))
    assert read("manifest", path).digest != before


class TestFile:
    def test_folder(self, tmp_path):
        with pytest.raises(InputError, match=r"is a folder; name the CSV in it \(dataset,subject,"):
            read("manifest", tmp_path)

    @pytest.mark.parametrize("content", [b"PK\x03\x04\xff\xfe\x00", b'a,b\n"1\n'])
    def test_not_a_csv(self, tmp_path, content):
        (tmp_path / "maps.csv").write_bytes(content)
        with pytest.raises(InputError, match=r"maps.csv: is no CSV in UTF-8 \(.+\); write it"):
            read("manifest", tmp_path / "maps.csv")

    def test_empty(self, manifest):
        with pytest.raises(InputError, match=r"maps.csv: is empty; begin it with the header data"):
            read("manifest", manifest(header=""))

    def test_only_a_header(self, manifest):
        with pytest.raises(InputError, match="has a header but no rows; list the clips below it"):
            read("manifest", manifest())

    def test_row_with_too_many_cells(self, manifest):
        with pytest.raises(InputError, match=r"line 3 has 7 cells, the header 6; quote commas"):
            read("manifest", manifest(ROWS[0], ROWS[1] + ",b"))

    def test_row_with_too_few_cells_lacks_the_last_ones(self, manifest):
        with pytest.raises(InputError, match=r"line 3: label, path must not be empty"):
            read("manifest", manifest(ROWS[0], "d,s9,c9"))

    def test_columns(self, manifest):
        message = (
            r"3 faults\n  - column 'clip' is missing; the header must be dataset,.+\[,frame\]\n"
            r"  - column 'frames' is unknown; rename or drop it \(did you mean 'frame'\?\)\n"
            r"  - column 'fps' is unknown"
        )
        with pytest.raises(InputError, match=message):
            read(
                "manifest", manifest("d,s,l,p,1,2", header="dataset,subject,label,path,frames,fps")
            )

    def test_doubled_column(self, manifest):
        with pytest.raises(InputError, match=r"column 'label' occurs 2 times; keep one"):
            read("manifest", manifest(ROWS[0] + ",x", header=HEADER + ",label"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["d,s9,c9,x,gone.npy,"], r"clip d/s9/c9: line 7: no such file .+gone.npy; paths are rel"),
        (["d,s9,c9,,a.npy,"], r"line 7: label must not be empty; fill in or drop the row"),
        (["d,,c9,x,,"], r"line 7: subject, path must not be empty"),
        (["d,s9,c9,x,a.npy,1", "d,s9,c9,y,b.npy,2"], r"has 2 labels, x, y; give all rows one"),
        (["d,s9,c9,x,a.npy,1", "d,s9,c9,x,b.npy,1"], r"frame 1 occurs more than once; drop or"),
        (["d,s9,c9,x,a.npy,1", "d,s9,c9,x,b.npy,"], r"line 8: frame '' must be a whole number"),
        (["d,s9,c9,x,a.npy,1.5"], r"line 7: frame '1.5' must be a whole number in every row"),
        (["d,s9,c9,x,a.npy,", "d,s9,c9,x,a.npy,"], r"a.npy is listed more than once; drop a row"),
        (["d,s9,c9,x,note.txt,"], r"note.txt must be .npy or an image \(.bmp, .+\); convert it"),
        (["d,s9,c9,x,a.npy,", "d,s9,c9,x,one.jpg,"], r"mixes images and .npy arrays; use one kind"),
        (["d,s9,c9,x,one.jpg,", "d,s9,c9,x,two.jpg,"], r"differ in size: 8x6 .+, 9x9 .+; copy the"),
        (["d,s9,c9,x,torn.jpg,"], r"torn.jpg is empty; copy it again"),
        (["d,s9,c9,x,torn.npy,"], r"torn.npy is no readable .npy array \(.+\); write it again"),
        (["d,s9,c9,x,flat.npy,"], r"flat.npy must hold numbers \[H, W, C\], not float32 \[4, 4\]"),
        (["d,s9,c9,x,words.npy,"], r"words.npy must hold numbers \[H, W, C\], not <U1 \[1, 1, 1\]"),
        (["d,s9,c9,x,large.npy,"], r"arrays are 5x4x3, most of the manifest 4x4x3; .+: resample"),
        (["d/d,s9,c9,x,a.npy,"], r"line 7: dataset 'd/d' must not contain '/'; rename it"),
    ],
)
def test_fault_spares_the_other_clips(manifest, rows, message):
    path = manifest(*ROWS, *rows)
    found = read("manifest", path, on_fault="skip")
    assert len(found.clips) == 3
    (fault,) = found.faults
    assert re.search(message, fault), fault
    with pytest.raises(InputError, match=re.escape(fault)):
        read("manifest", path)
