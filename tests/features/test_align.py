from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_search.features import align
from mer_search.features.align import (
    TEMPLATE,
    Placement,
    locate,
    looked_at,
    outside,
    place,
    similarity,
    warp,
)


@given(
    angle=st.floats(-1.2, 1.2),
    scale=st.floats(20, 400),
    shift=st.tuples(st.floats(-50, 500), st.floats(-50, 500)),
)
def test_similarity_undoes_any_turn_scale_and_shift(
    angle: float, scale: float, shift: tuple[float, float]
) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = TEMPLATE @ turn.T * scale + shift
    found = similarity(points)
    np.testing.assert_allclose(points @ found[:, :2].T + found[:, 2], TEMPLATE, atol=1e-6)


def test_eyes_are_level_even_where_the_mouth_is_not() -> None:
    points = TEMPLATE * 100 + np.array([(0, 5), (0, -3), (2, 1), (4, 4), (1, -4)])
    found = similarity(points)
    eyes = points[:2] @ found[:, :2].T + found[:, 2]
    assert abs(eyes[0, 1] - eyes[1, 1]) < 1e-9


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.2, 3.0])
def test_warping_puts_pixels_where_the_transform_says(scale: float) -> None:
    """A bright disc's centre of mass, in continuous coordinates, before and after."""
    side = int(200 / scale)
    image = np.zeros((side + 1, side, 3), np.uint8)
    at, radius = np.array([side * 0.4, side * 0.55]), max(3, round(6 / scale))
    cv2.circle(image, tuple(int(v) for v in at), radius, (255, 255, 255), -1)
    matrix = np.array([[scale, 0, 3.3], [0, scale, -2.6]]) / 160
    face = warp([image], matrix, 160)[0, ..., 0].astype(float)
    y, x = np.mgrid[:160, :160] + 0.5
    found = np.array([(face * x).sum(), (face * y).sum()]) / face.sum()
    wanted = (np.floor(at) + 0.5) * scale + [3.3, -2.6]
    np.testing.assert_allclose(found, wanted, atol=0.25)


def test_without_a_matrix_frames_are_only_resized() -> None:
    frames = [np.full((40, 60, 3), shade, np.uint8) for shade in (10, 20)]
    faces = warp(frames, None, 32)
    assert faces.shape == (2, 32, 32, 3)
    assert faces[1].mean() == 20


def test_outside_is_the_share_beyond_the_image() -> None:
    matrix = np.array([[0.01, 0, 0.5], [0, 0.01, 0.0]])  # the square begins 50 pixels left of it
    assert outside(matrix, (100, 100)) == pytest.approx(0.5)


def test_the_largest_most_central_sure_face_is_taken() -> None:
    boxes = np.array([[0, 0, 30, 30], [80, 80, 130, 130], [150, 150, 202, 202]], float)
    points = np.stack([TEMPLATE * 30, TEMPLATE * 50 + 80, TEMPLATE * 52 + 150])
    found = align._placement(boxes, np.array([0.99, 0.98, 0.97]), points, size=(210, 210))
    np.testing.assert_allclose(found.matrix, similarity(np.round(points[1] * 8) / 8))
    assert found.notes == ("3 faces on the onset frame; the largest, most central one is used",)
    doubtful = align._placement(boxes[1:], np.array([0.98, 0.8]), points[1:], size=(210, 210))
    assert doubtful.notes == ()


def test_pictures_without_a_face() -> None:
    images = [np.zeros((64, 64, 3), np.uint8), np.zeros((12, 90, 3), np.uint8)]
    assert [placement.matrix for placement in locate(images)] == [None, None]


def test_a_face_that_is_gone_later_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with_face, without = np.ones((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    searched: list[int] = []

    def locate(images: list[np.ndarray], *, device: str) -> list[Placement]:
        searched.append(len(images))
        return [Placement(np.eye(2, 3) if image.any() else None, ("told",)) for image in images]

    monkeypatch.setattr(align, "locate", locate)
    found = place(
        [{"frame 0": with_face, "frame 2": without, "frame 4": without},
         {"frame 0": with_face, "frame 1": without, "frame 2": with_face},
         {"frame 0": without, "frame 1": without}, {"frame 0": with_face}]
    )  # fmt: skip
    assert [placement.matrix is None for placement in found] == [False, False, True, False]
    assert [len(placement.notes) for placement in found] == [2, 2, 1, 1]
    assert found[0].notes[1].startswith("no face was found on frame 2, frame 4: it left the pict")
    assert found[1].notes[1].startswith("no face was found on frame 1: it left the picture or was")
    assert searched == [4, 4], "later frames of a clip without a face are not searched"


@pytest.mark.parametrize(
    ("count", "onset", "apex", "expected"),
    [(9, 0, None, [0, 4, 8]), (9, 2, 6, [2, 5, 6, 8]), (9, 0, 4, [0, 4, 8]), (9, 0, 0, [0, 4, 8]),
     (2, 0, None, [0, 1]), (1, 0, 0, [0]), (9, 8, None, [8])],
)  # fmt: skip
def test_onset_middle_apex_and_last_frame_are_looked_at(
    count: int, onset: int, apex: int | None, expected: list[int]
) -> None:
    assert looked_at(count, onset, apex) == expected


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    from skimage import data

    return np.ascontiguousarray(data.astronaut())


@pytest.mark.slow
def test_a_real_face_is_found_in_pictures_of_any_size_at_once(portrait: np.ndarray) -> None:
    turned = cv2.warpAffine(portrait, cv2.getRotationMatrix2D((256, 256), 15, 1), (512, 512))
    images = [portrait, cv2.resize(portrait, (300, 300)), turned, portrait[:60, 200:400]]
    found = locate(images)
    assert [placement.matrix is None for placement in found] == [False, False, False, True]
    alone = locate([images[0]])[0]
    np.testing.assert_array_equal(found[0].matrix, alone.matrix)
    faces = [
        warp([image], placement.matrix, 160)[0].astype(float)
        for image, placement in zip(images[:3], found[:3], strict=True)
    ]
    for face in faces[1:]:
        middle = np.s_[40:120, 40:120]
        assert np.corrcoef(faces[0][middle].ravel(), face[middle].ravel())[0, 1] > 0.9


@pytest.mark.slow
def test_several_faces_and_faces_at_the_border_are_told(portrait: np.ndarray) -> None:
    both = np.concatenate([portrait[:300, 100:350], portrait[:300, 100:350]], axis=1)
    assert "2 faces on the onset frame" in locate([both])[0].notes[0]
    cropped = np.ascontiguousarray(portrait[40:300, 185:400])
    assert "lies beyond the image's border" in " ".join(locate([cropped])[0].notes)


@pytest.mark.slow
def test_a_real_face_that_disappears_or_comes_late(portrait: np.ndarray) -> None:
    black = np.zeros_like(portrait)
    clips = [(portrait, portrait, portrait), (portrait, black, portrait), (black, portrait)]
    stays, goes, comes = place([dict(zip("abc", clip, strict=False)) for clip in clips])
    assert (stays.notes, comes.matrix) == ((), None)
    np.testing.assert_array_equal(goes.matrix, stays.matrix)
    assert goes.notes[0].startswith("no face was found on b: it left the picture")


@pytest.mark.slow
def test_a_small_face_is_found_by_the_slow_search(portrait: np.ndarray) -> None:
    wide = np.zeros((720, 1280, 3), np.uint8)
    wide[300:428, 600:728] = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)
    assert locate([wide])[0].matrix is not None
