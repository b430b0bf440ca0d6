"""Repairs: keyed by clip, applied where they fit, told where they do not."""

from __future__ import annotations

import pytest
from owner_copies import cells_of, column, header_row, sheet_of, write, write_cells

from mer_search.datasets import corrections, read
from mer_search.datasets.owners import SAMM_WRONG
from mer_search.errors import InputError


@pytest.fixture
def samm(tmp_path):
    return write(tmp_path / "SAMM", "samm")


def test_every_repair_has_a_key_a_field_and_a_source():
    known = corrections.known()
    assert len({(each.dataset, each.subject, each.clip, each.field) for each in known}) == len(
        known
    )
    for each in known:
        assert each.field in corrections.FIELDS
        assert len(each.source) > 20
        assert each.was != each.becomes


def test_samms_two_apexes_are_repaired_and_told(samm):
    found = read("samm", samm)
    assert [sentence.split(" (")[0] for sentence in found.corrections] == [
        "samm/028/028_4_1: apex 1143 -> 1105",
        "samm/032/032_3_1: apex 1930 -> 4930",
    ]
    by_name = {clip.name: clip for clip in found.clips}
    for name, apex, _ in SAMM_WRONG.values():
        clip = by_name[name]
        assert int(clip.frames[clip.apex].stem.split("_")[1]) == apex


def test_without_the_repair_the_apex_is_a_fault(samm, monkeypatch):
    monkeypatch.setattr(corrections, "known", lambda: ())
    faults = read("samm", samm, on_fault="skip").faults
    assert len(faults) == 2
    for fault in faults:
        assert "must lie within Onset Frame..Offset Frame" in fault


def edited(samm, name, **cells_by_column):
    path = sheet_of(samm)
    cells = cells_of(path)
    index = next(i for i, row in enumerate(cells) if name in row)
    for key, value in cells_by_column.items():
        cells[index][column(cells, key.replace("_", " "))] = value
    write_cells(path, cells)


def test_a_cell_that_was_mended_already_is_left_alone(samm):
    edited(samm, "028_4_1", Apex_Frame=1104)
    found = read("samm", samm)
    assert len(found.corrections) == 1
    assert found.notes == ("samm/028/028_4_1: apex is '1104', not 1143; left as it is",)


def test_a_repair_without_its_clip_is_a_fault(samm):
    path = sheet_of(samm)
    cells = [row for row in cells_of(path) if "032_3_1" not in row]
    write_cells(path, cells)
    message = (
        r"xlsx has no row 032/032_3_1, which is to be repaired \(apex 1930 -> 4930\): it is "
        r"incomplete or edited; bring the owner's whole spreadsheet, also for a part of the frames"
    )
    with pytest.raises(InputError, match=message):
        read("samm", samm)
    assert len(read("samm", samm, on_fault="skip").clips) == 9


def test_rows_may_move(samm):
    path = sheet_of(samm)
    cells = cells_of(path)
    header = header_row(cells)
    write_cells(path, [*cells[: header + 1], *cells[:header:-1]])
    assert len(read("samm", samm).corrections) == 2
