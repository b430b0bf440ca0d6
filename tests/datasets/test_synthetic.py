"""The semi-synthetic data set: its layout, its repeatability, and what its labels mean."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from mer_search.datasets import faces, read, synthetic
from mer_search.datasets.classes import CASME2_5
from mer_search.datasets.owners import CASME2_EMOTIONS, OWNERS, named
from mer_search.errors import InputError

SMALL = {"subjects": 2, "clips": 5, "frames": 8}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp("synthetic") / "data", **SMALL, seed=3)


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_reader_of_casme2_takes_it(root):
    found = read("casme2", root)
    assert (found.version, found.faults) == ("2014-05-08", ())
    assert found.counts == dict.fromkeys(CASME2_5.names, 2)
    assert [subject for _, subject in found.subjects] == ["sub01", "sub02"]
    for clip in found.clips:
        assert 0 == clip.onset < clip.apex < clip.offset == len(clip.frames) - 1


def test_spreadsheet_has_the_columns_of_the_owners(root):
    table = pd.read_excel(root / "CASME2-coding-20140508.xlsx", sheet_name="Sheet1", dtype=object)
    assert [name for name in table.columns if "Unnamed" not in name] == [
        "Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units",
        "Estimated Emotion",
    ]  # fmt: skip
    assert list(table.columns[[2, 6]]) == ["Unnamed: 2", "Unnamed: 6"]
    assert set(table["Subject"]) == {"01", "02"}
    assert {type(units) for units in table["Action Units"]} == {int, str}


def test_equal_seeds_give_equal_bytes(root, tmp_path):
    again = synthetic.write(tmp_path / "again", **SMALL, seed=3)
    other = synthetic.write(tmp_path / "other", **SMALL, seed=4)
    assert content(again) == content(root)
    assert not set(content(other).values()) & set(content(root).values())


def test_more_subjects_leave_the_first_ones_as_they_are(root, tmp_path):
    larger = content(synthetic.write(tmp_path / "larger", **{**SMALL, "subjects": 3}, seed=3))
    frames = {name: data for name, data in content(root).items() if name.endswith(".jpg")}
    assert frames.items() <= larger.items()


def test_frames_are_unlike_one_another_by_noise_and_movement_only(root):
    clip = read("casme2", root).clips[0]
    onset, apex = (cv2.imread(str(clip.frames[i])).astype(int) for i in (clip.onset, clip.apex))
    assert onset.shape == (faces.SIZE, faces.SIZE, 3)
    assert 1 < np.abs(onset - apex).mean() < 12


@pytest.mark.parametrize("movement", sorted(faces.MOVEMENTS))
def test_skin_moves_by_one_to_three_pixels(movement):
    person = faces.subject(np.random.default_rng(0))
    length = np.linalg.norm(faces.displacement(person, movement), axis=-1)
    assert 1 < length.max() < 3.2
    # Only a region moves: most of the frame stays where it is.
    assert np.mean(length > 0.3) < 0.2


def test_movements_differ(root):
    person = faces.subject(np.random.default_rng(0))
    fields = [faces.displacement(person, name).ravel() for name in faces.MOVEMENTS]
    alike = np.corrcoef(fields) - np.eye(len(fields))
    assert alike.max() < 0.6


def test_strength_is_nothing_at_onset_and_most_at_apex():
    take = synthetic.Take(1, "EP01_01", "disgust", "lip press", onset=50, apex=56, offset=70)
    strength = synthetic.course(take, np.random.default_rng(0))
    assert len(strength) == 21
    assert strength[0] == 0
    assert strength.argmax() == 6
    assert 0 < strength[-1] < strength[6] / 2


@pytest.mark.parametrize(("signal", "share"), [(1.0, 1.0), (0.5, 0.6), (0.0, 0.2)])
def test_signal_is_the_share_of_labels_that_mean_something(signal, share):
    recipe = synthetic.Recipe(2, clips=2000, classes=5, frames=20, signal=signal, seed=0)
    takes = list(synthetic.plan(np.random.default_rng(0), 1, recipe))
    true = [take.movement == CASME2_EMOTIONS[take.emotion][0] for take in takes]
    assert np.mean(true) == pytest.approx(share, abs=0.03)


def test_classes_balance_over_subjects_with_few_clips():
    recipe = synthetic.Recipe(5, clips=3, classes=5, frames=20, signal=1.0, seed=0)
    drawn = [
        take.emotion
        for subject in range(1, 6)
        for take in synthetic.plan(np.random.default_rng(0), subject, recipe)
    ]
    assert {drawn.count(emotion) for emotion in CASME2_EMOTIONS} == {3}


def test_impossible_arguments_are_all_told(tmp_path):
    message = (
        r"4 faults\n  - subjects 1 must be 2 or more.+\n  - classes 6 must be 2 to 5\n"
        r"  - frames 3 must be 4 or more.+\n  - signal 1.5 must be 0"
    )
    with pytest.raises(InputError, match=message):
        synthetic.write(tmp_path / "new", subjects=1, classes=6, frames=3, signal=1.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clips": 0}, "clips 0 must be 1 or more per subject"),
        ({"subjects": 2, "clips": 1}, r"clips 1 x subjects 2 must reach classes 5; raise clips"),
        ({"seed": -1}, "seed -1 must be 0 or more"),
    ],
)
def test_impossible_argument(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        synthetic.write(tmp_path / "new", **arguments)


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="exists and is not empty; delete it or name another"):
        synthetic.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "_write_sheets", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthetic.write(tmp_path / "new", **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_face_detector_finds_one_face_of_the_promised_width():
    facenet_pytorch = pytest.importorskip("facenet_pytorch")
    detector = facenet_pytorch.MTCNN(keep_all=True)
    still = faces.Motion("lip press", np.zeros(1))
    for seed in range(4):
        for number in range(1, 9):
            rng = np.random.default_rng([seed, number])
            (frame,) = faces.frames(faces.subject(rng), still, rng)
            boxes, _ = detector.detect(frame[..., ::-1].copy())
            assert boxes is not None
            assert len(boxes) == 1, (seed, number)
            assert 70 < boxes[0][2] - boxes[0][0] < 110


@pytest.mark.parametrize("layout", sorted(set(OWNERS) - {"casme2"}))
def test_faces_move_in_every_layout(layout, tmp_path):
    root = synthetic.write(
        tmp_path / "new", layout=layout, subjects=2, clips=2, classes=2, frames=5
    )
    found = read(layout, root)
    assert (len(found.clips), len(found.subjects), found.faults) == (4, 2, ())
    for clip in found.clips[:1]:
        first, last = (
            cv2.imread(str(path)).astype(int) for path in (clip.frames[0], clip.frames[2])
        )
        assert first.shape == (faces.SIZE, faces.SIZE, 3)
        assert 1 < np.abs(first - last).mean() < 12
        if layout == "samm":
            assert (first[..., 0] == first[..., 2]).all()


@pytest.mark.parametrize("layout", sorted(OWNERS))
def test_names_never_repeat(layout):
    takes = [
        synthetic.Take(subject, "", emotion, "", 40, 45, 50)
        for subject in range(1, 40)
        for emotion in list(OWNERS[layout].emotions) * 9
    ]
    named_takes = list(named(OWNERS[layout], takes))
    assert len({(take.subject, take.name, take.onset) for take in named_takes}) == len(takes)


def test_unknown_layout(tmp_path):
    with pytest.raises(InputError, match="'sam' is no layout; did you mean 'samm'"):
        synthetic.write(tmp_path / "new", layout="sam")
    with pytest.raises(InputError, match="'megc' is no layout; did you mean 'megc2019'"):
        synthetic.write_full(tmp_path / "new", layout="megc")


def test_the_composite_is_written_whole(tmp_path):
    with pytest.raises(InputError, match=r"megc2019 is its 442 clips .+ write it with --full"):
        synthetic.write(tmp_path / "new", layout="megc2019")
