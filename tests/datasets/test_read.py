"""What holds for every reader: all faults at once, skipping by name, too little to search over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from casme2_copies import FOUR

from mer_search.datasets import READERS, read
from mer_search.errors import InputError


def test_unknown_reader(tmp_path):
    with pytest.raises(InputError, match=r"'casme-2' is no reader; did you mean 'casme2'\?"):
        read("casme-2", tmp_path)


@pytest.mark.parametrize("reader", sorted(READERS))
def test_missing_root(reader, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such "):
        read(reader, tmp_path / "nowhere")


def test_all_faults_in_one_message_with_the_way_out_at_the_end(copy):
    copy.frames(FOUR)
    copy.coding([replace(FOUR[0], apex=99), FOUR[1], FOUR[2], replace(FOUR[3], onset="?")])
    message = (
        r"CASME2: 2 faults\n  - .+ row 2 \(sub01/EP01_01\): ApexFrame 99 .+\n"
        r"  - .+ row 5 \(sub02/EP09f\): OnsetFrame '\?' .+\n"
        r"mend the 2 faults above, or set data.on_fault: skip to go on without these clips$"
    )
    with pytest.raises(InputError, match=message):
        read("casme2", copy.root)


def test_skipped_clips_are_named_and_the_others_kept(copy):
    found = read("casme2", copy.with_changed(apex=99), on_fault="skip")
    assert [clip.name for clip in found.clips] == ["EP02_01f", "EP01_2", "EP09f"]
    assert len(found.faults) == 1
    assert "sub01/EP01_01" in found.faults[0]


@pytest.mark.parametrize("on_fault", ["refuse", "skip"])
def test_one_class(copy, on_fault):
    root = copy.write(replace(row, emotion="disgust") for row in FOUR)
    with pytest.raises(InputError, match=r"all 4 usable clips are of one class, disgust; .+check"):
        read("casme2", root, on_fault=on_fault)


@pytest.mark.parametrize("on_fault", ["refuse", "skip"])
def test_one_subject(copy, on_fault):
    root = copy.write(FOUR[:2])
    with pytest.raises(InputError, match=r"2 usable clips are of one subject, casme2/sub01; leave"):
        read("casme2", root, on_fault=on_fault)


def test_no_clip_left_tells_the_faults_too(copy):
    copy.frames(FOUR)
    copy.coding([replace(row, apex=99) for row in FOUR])
    with pytest.raises(InputError, match=r"(?s)5 faults.+no clip of the classes happiness, .+ can"):
        read("casme2", copy.root, on_fault="skip")


def test_no_clip_in_the_protocol(copy):
    root = copy.write(replace(row, emotion="fear") for row in FOUR)
    with pytest.raises(InputError, match=r"no clip of the classes happiness, .+; check root and"):
        read("casme2", root)
