"""MEGC logs: published answers, round trip, every malformed line told at once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_search.errors import InputError
from mer_search.loso.megc_log import LoggedClip, read_log, score_log, write_log

PARTS = {  # counts with truth by row, UF1, UAR
    "casme2": ([[83, 5, 0], [12, 19, 1], [2, 0, 23]], 0.8382, 0.8190),
    "samm": ([[82, 7, 3], [11, 13, 2], [5, 2, 8]], 0.6588, 0.6415),
    "smic": ([[54, 10, 6], [17, 30, 4], [14, 1, 28]], 0.6801, 0.6703),
}
WORD = st.text(st.characters(categories=("L", "N"), include_characters="_-"), min_size=1)


def published():
    for dataset, (counts, *_) in PARTS.items():
        cells = [(t, p) for t in range(3) for p in range(3) for _ in range(counts[t][p])]
        for n, (truth, predicted) in enumerate(cells):
            yield LoggedClip(dataset, f"sub{n % 9:02d}", f"EP{n:03d}", truth, predicted)


@pytest.fixture
def log(tmp_path):
    def write(text):
        path = tmp_path / "log.txt"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_published_scores(log):
    found = score_log(log(write_log(published())))
    assert (found["clips"], found["subjects"], found["classes"]) == (442, 27, [0, 1, 2])
    assert found["uf1"] == pytest.approx(0.7353, abs=5e-5)
    assert found["uar"] == pytest.approx(0.7186, abs=5e-5)
    assert found["confusion"] == [[219, 22, 9], [40, 62, 7], [21, 3, 59]]
    assert found["datasets"].keys() == PARTS.keys()
    for name, (counts, f1, recall) in PARTS.items():
        part = found["datasets"][name]
        assert part["confusion"] == counts
        assert part["uf1"] == pytest.approx(f1, abs=5e-5)
        assert part["uar"] == pytest.approx(recall, abs=5e-5)
    assert json.loads(json.dumps(found)) == found


def test_lines_as_published(log):
    found = read_log(log("casme2 sub01\nEP02_01f 1 1\n\nEP03_02 0 2\nsamm 006\n006_1_2 2 2\n"))
    assert found == (
        LoggedClip("casme2", "sub01", "EP02_01f", 1, 1),
        LoggedClip("casme2", "sub01", "EP03_02", 0, 2),
        LoggedClip("samm", "006", "006_1_2", 2, 2),
    )


@given(clips=st.lists(st.builds(LoggedClip, WORD, WORD, WORD, st.integers(0, 6), st.integers(0, 6)),
                      min_size=1, unique_by=lambda c: (c.dataset, c.subject, c.name)))  # fmt: skip
def test_round_trip(tmp_path_factory, clips):
    path = tmp_path_factory.mktemp("logs") / "log.txt"
    path.write_text(write_log(clips), encoding="utf-8")
    assert set(read_log(path)) == set(clips)


def test_one_based_classes_score_as_zero_based_ones(log):
    zero = score_log(log("a s\nx 0 0\ny 1 2\nz 2 2\n"))
    one = score_log(log("a s\nx 1 1\ny 2 3\nz 3 3\n"))
    assert one["classes"] == [1, 2, 3]
    assert {**one, "classes": 0, "datasets": 0} == {**zero, "classes": 0, "datasets": 0}


def test_a_class_that_never_occurs_counts_zero_when_the_classes_are_given(log):
    path = log("a s\nx 0 0\ny 1 1\n")
    assert score_log(path)["uf1"] == 1.0
    assert score_log(path, classes=4)["uf1"] == 0.5


def test_a_data_set_is_scored_over_all_classes_of_the_log(log):
    found = score_log(log("a s\nx 0 0\nb t\ny 1 1\n"))
    assert found["uf1"] == 1.0
    assert found["datasets"]["a"]["uf1"] == 0.5


def test_every_malformed_line_is_told(log):
    text = "early 0 0\na s\nx 0 one\nz 0 0 0\nw -1 0\nv 1 1\nv 1 1\nalone\n"
    path = log(text)
    with pytest.raises(InputError) as told:
        read_log(path)
    message = str(told.value)
    assert "6 faults" in message
    for part in (
        "line 1: clip 'early' before any subject; write `dataset subject` above it",
        "line 3: truth '0' and prediction 'one' must be 0 or more",
        "line 4: 4 words; write `dataset subject` or `clip truth prediction`",
        "line 5: truth '-1' and prediction '0' must be 0 or more",
        "line 7: clip 'v' of s is there twice",
        "line 8: 1 words",
    ):
        assert part in message


@pytest.mark.parametrize("text", ["", "\n\n", "casme2 sub01\n"])
def test_a_log_without_clips_is_refused(log, text):
    with pytest.raises(InputError, match="no clip found; write `casme2 sub01`, then lines"):
        read_log(log(text))


def test_files_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "log.bin").write_bytes(b"\xff\xfe\x00")
    for name in ("log.bin", "missing.txt"):
        with pytest.raises(InputError, match="cannot be read as text"):
            read_log(tmp_path / name)


def test_class_numbers_beyond_the_given_classes_are_refused(log):
    with pytest.raises(InputError, match="class 3 is not below 3; number 3 classes from 0"):
        score_log(log("a s\nx 3 0\n"), classes=3)


def test_names_with_spaces_cannot_be_written():
    clips = [LoggedClip("a", "s 1", "x", 0, 0), LoggedClip("a", "s", "", 0, 0)]
    with pytest.raises(InputError, match=r"2 faults\n.*separates by spaces; rename"):
        write_log(clips)
