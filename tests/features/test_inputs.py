"""One contract for all that networks are shown: appearance, change, motion, and versions of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from mer_search import space_file
from mer_search.config import Augment, Features, Trial
from mer_search.datasets.clips import Clip, DataSet
from mer_search.features import plan
from mer_search.features.augmentation import drawn, jittered, versions
from mer_search.features.cache import Cache
from mer_search.features.extract import embed_frames, feature_set, fill
from mer_search.features.flow import METHODS, flow, strain
from mer_search.features.frames import read_frames
from mer_search.features.inputs import KINDS, Stream, show, streams
from mer_search.features.magnification import magnify

SIDE, SIZE, K = 64, 16, 3
INPUTS: dict[str, dict[str, Any]] = {
    "difference": {"kind": "difference"},
    "stacked": {"kind": "stacked"},
    "two streams": {"kind": "appearance+difference"},
    "appearance and flow": {"kind": "appearance+flow", "flow": "dis"},
    "magnified": {"magnification": 6.0},
    "magnified flow": {"kind": "flow", "magnification": 4.0},
    **{f"flow {name}": {"kind": "flow", "flow": name} for name in METHODS},
}
CHANGES: dict[str, dict[str, Any]] = {
    "flip": {"flip": True},
    "affine": {"affine": 2},
    "jitter": {"jitter": 2},
    "all": {"flip": True, "affine": 1, "jitter": 1},
    "both ways": {"flip": True, "flip_scored": True, "affine": 1},
}
every_input = pytest.mark.parametrize(
    "shown",
    [
        pytest.param(shown, id=name, marks=pytest.mark.slow if "tv-l1" in name else ())
        for name, shown in INPUTS.items()
    ],
)
every_change = pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())


def settings(shown: Any = (), changes: Any = (), **others: Any) -> Features:
    return Features.model_validate({
        "align": {"method": "none", "size": SIDE}, "keyframes": {"count": K},
        "backbone": {"name": "patches", "grid": 2},
        "input": {"size": SIZE, **dict(shown)}, "augment": dict(changes), **others,
    })  # fmt: skip


@pytest.fixture
def moving(make_clip: Callable[..., Clip]) -> DataSet:
    return DataSet("invented", "1", ("a", "b"), tuple(
        make_clip(name, frames=frames, size=SIDE) for name, frames in (("c1", 6), ("c2", 9))
    ))  # fmt: skip


def picture(shift: float = 0.0) -> np.ndarray:
    """A smooth pattern that lies `shift` pixels further right and half as far up."""
    x, y = np.meshgrid(np.arange(SIDE) - shift, np.arange(SIDE) + shift / 2)
    shade = 128 + 50 * np.sin(x / 4) * np.cos(y / 5) + 40 * np.sin((x + y) / 7)
    return np.repeat(shade.round().astype(np.uint8)[..., None], 3, -1)


def numbers(features: Features, dataset: DataSet, cache: Cache) -> np.ndarray:
    assert fill(dataset, [features], cache=cache).faults == ()
    return feature_set(dataset, features, cache=cache).x


@every_input
def test_shapes_repeat_and_agree_with_a_raw_clip(shown: Any, moving: DataSet, cache: Cache) -> None:
    features = settings(shown)
    x = numbers(features, moving, cache)
    count = len(features.input.kind.split("+"))
    assert x.shape == (2, K, 4, count * (SIZE // 2) ** 2 * 3)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert np.abs(x).max() > 0
    np.testing.assert_array_equal(numbers(features, moving, Cache(cache.root / "again")), x)
    for n, clip in enumerate(moving.clips):
        found = embed_frames(read_frames(clip.frames), features, apex=clip.apex)
        np.testing.assert_allclose(found.x[0], x[n], atol=1e-4)


@every_input
def test_a_frame_does_not_depend_on_the_others_that_are_asked_for(
    shown: Any, moving: DataSet
) -> None:
    (stream, *_), clip = streams(settings(shown)), moving.clips[1]
    faces = np.stack(read_frames(clip.frames))

    def of(wanted: list[int]) -> np.ndarray:
        read = stream.reads(wanted, frames=len(faces), onset=0)
        return show(faces[read], read, wanted, stream, onset=0)

    np.testing.assert_array_equal(of([2, 5, 7])[1], of([5])[0])


@every_input
def test_a_still_clip_shows_no_change(shown: Any) -> None:
    features = settings(shown)
    faces = np.stack([picture()] * 5)
    for stream in streams(features):
        maps = show(faces, range(5), [1, 4], stream, onset=0)
        as_picture = show(faces, range(5), [1, 4], replace(stream, size=0), onset=0)
        if stream.kind in ("difference", "flow"):
            assert np.abs(maps).max() < 2e-3
            assert set(as_picture[..., :2].ravel().tolist()) == {128}
        elif stream.kind == "stacked":
            assert np.abs(maps[..., 1:]).max() < 2e-3
        else:
            np.testing.assert_array_equal(as_picture, faces[[1, 4]])


@every_input
def test_keys_and_digests_know_of_it(shown: Any, moving: DataSet, cache: Cache) -> None:
    plain, other = settings(), settings(shown)
    assert plain.model_dump().keys() == {"align", "keyframes", "backbone", "reference", "input"}
    assert plan.keys(moving, [other]) - plan.keys(moving, [plain])
    digests = set()
    for features in (plain, other):
        fill(moving, [features], cache=cache)
        digests.add(feature_set(moving, features, cache=cache).digest)
    assert len(digests) == 2


def test_older_settings_keep_keys_and_digests(dataset: DataSet) -> None:
    """Written down before inputs could be chosen; a change makes every cache worthless."""
    assert Features().digest == "a9b5f32ea4a15d81"
    clip = replace(dataset.clips[0], frames=())
    face = Features.model_validate({"backbone": {"weights": "random"}})
    assert plan.rows_key(clip, face.align, face.backbone, "random")[:16] == "c292f22b39d3e7b7"
    assert streams(face) == (Stream(),)
    assert "input" not in Trial().model_dump()["features"]


@pytest.mark.parametrize("method", METHODS)
def test_flow_finds_a_known_shift_in_percent_of_the_side(method: str) -> None:
    found = flow(picture()[..., 0], picture(1.5)[..., 0], method=method)
    inside = found[16:-16, 16:-16].reshape(-1, 2)
    np.testing.assert_allclose(np.median(inside, 0), (1.5, -0.75), atol=0.15)
    stream = Stream("flow", method, size=SIDE)
    maps = show(np.stack([picture(), picture(1.5)]), [0, 1], [1], stream, onset=0)[0]
    np.testing.assert_allclose(maps[..., :2], found * 100 / SIDE, rtol=1e-5)
    seen = show(np.stack([picture(), picture(1.5)]), [0, 1], [1], replace(stream, size=0), onset=0)
    np.testing.assert_allclose(seen[0, ..., 0], 128 + 25.5 * maps[..., 0], atol=0.51)


def test_strain_of_known_fields() -> None:
    x, y = np.meshgrid(np.arange(12.0), np.arange(9.0))
    nothing = np.zeros_like(x)
    cases = {
        "shift": (nothing + 3, nothing - 1, 0.0),
        "turn": (-0.1 * y, 0.1 * x, 0.0),
        "stretch": (0.1 * x, nothing, 0.1),
        "growth": (0.1 * x, 0.1 * y, 0.1 * np.sqrt(2)),
        "shear": (0.1 * y, nothing, 0.1 / np.sqrt(2)),
    }
    for name, (u, v, expected) in cases.items():
        found = strain(np.dstack([u, v]).astype(np.float32))
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("factor", [2.0, 4.0])
def test_magnification_multiplies_a_known_motion(factor: float) -> None:
    course = 0.25 * np.sin(np.linspace(0, np.pi, 20)) ** 2
    faces = np.stack([wide(shift) for shift in course])
    found = magnify(faces, factor, onset=0)
    np.testing.assert_array_equal(found[0], faces[0])
    moved = flow(found[0, ..., 0], found[10, ..., 0], method="dis")[24:-24, 24:-24, 0]
    assert np.median(moved) == pytest.approx(factor * course[10], rel=0.25)


def wide(shift: float) -> np.ndarray:
    """A coarse pattern, whose wavelengths take the whole factor, moved to the right."""
    x, y = np.meshgrid(np.arange(96) - shift, np.arange(96))
    shade = 128 + 50 * np.sin(2 * np.pi * x / 40) + 30 * np.cos(2 * np.pi * (x + y) / 48)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, shade.shape)  # or rounding hides motion
    return np.repeat((shade + noise).round().astype(np.uint8)[..., None], 3, -1)


def test_factor_one_and_single_frames_are_left_alone() -> None:
    faces = np.stack([picture(t / 4) for t in range(5)])
    assert magnify(faces, 1.0, onset=2) is faces
    assert magnify(faces[:1], 9.0, onset=0) is not None
    np.testing.assert_array_equal(magnify(faces[:1], 9.0, onset=0), faces[:1])


@every_change
def test_versions_follow_the_clips_themselves(changes: Any, moving: DataSet, cache: Cache) -> None:
    features, count = settings((), changes), len(versions(Augment(**changes)))
    assert fill(moving, [features], cache=cache).faults == ()
    found = feature_set(moving, features, cache=cache)
    assert found.x.shape[0] == 2 * count
    assert found.rows.tolist() == [0, 1] * count
    assert len(found.label) == len(found.keys) == len(found.itself) == 2
    for version in range(1, count):
        assert not np.array_equal(found.x[2 * version :][:2], found.itself)
    raw = embed_frames(read_frames(moving.clips[0].frames), features)
    assert len(raw.x) == len(found.scored) == 1 + Augment(**changes).flip_scored
    for own, stored in zip(raw.x, found.scored, strict=True):
        np.testing.assert_allclose(own, stored[0], atol=1e-4)


def test_a_mirrored_clip_is_the_clip_of_the_mirrored_face(moving: DataSet, cache: Cache) -> None:
    features = settings({"kind": "flow"}, {"flip": True}, backbone={"name": "patches", "grid": 1})
    found = numbers(features, moving, cache).reshape(2, 2, K, SIZE, SIZE, 3)
    other_way = [frame[:, ::-1] for frame in read_frames(moving.clips[0].frames)]
    expected = embed_frames(other_way, features).x[0].reshape(K, SIZE, SIZE, 3)
    np.testing.assert_allclose(found[1, 0], expected, atol=1e-4)


def test_scoring_mirrored_versions_asks_for_mirrored_training() -> None:
    told = list(settings(changes={"flip_scored": True}).contradictions())
    assert told == [
        "features.augment.flip_scored scores mirrored versions, which no fold has trained on; set "
        "features.augment.flip to true"
    ]
    assert "flip_scored" not in Augment().model_dump()


def test_small_transforms_are_alike_over_a_clip_and_differ_between_clips() -> None:
    faces = np.stack([picture(t) for t in range(4)])
    stream = Stream(affine=1)
    found = show(faces, range(4), range(4), stream, onset=0, clip="one")
    matrix = drawn("one", 1, SIDE)
    again = [cv2.warpAffine(f, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
             for f in faces]  # fmt: skip
    np.testing.assert_array_equal(found, again)
    middle = np.full(2, (SIDE - 1) / 2)
    for clip in ("one", "two"):
        moved = drawn(clip, 1, SIDE)
        assert np.abs(moved[:, :2] - np.eye(2)).max() < 0.15
        assert np.abs(moved @ [*middle, 1] - middle).max() <= 0.03 * SIDE + 1e-9
    assert not np.allclose(drawn("two", 1, SIDE), matrix)
    assert not np.allclose(drawn("one", 2, SIDE), matrix)


def test_jittered_key_frames_stay_in_order_and_in_the_clip() -> None:
    base = np.array([0, 10, 20, 30, 39])
    moved = [jittered(base, 40, number) for number in range(1, 9)]
    assert all((np.diff(m) >= 0).all() and m.min() >= 0 and m.max() <= 39 for m in moved)
    assert all(np.abs(m - base).max() <= 2 for m in moved)
    assert len({tuple(m) for m in moved}) > 4
    np.testing.assert_array_equal(jittered(base, 40, 1), moved[0])
    np.testing.assert_array_equal(jittered(base[:1], 1, 1), [0])


def test_one_apex_frame_for_models_of_onset_apex_flow(moving: DataSet, cache: Cache) -> None:
    """x [N, 1, 1, size * size * 3]: the flow from onset to apex as one map."""
    patches = {"backbone": {"name": "patches", "grid": 1}}
    apex = settings({"kind": "flow"}, keyframes={"method": "apex", "count": 1}, **patches)
    x = numbers(apex, moving, cache)
    assert x.shape == (2, 1, 1, SIZE * SIZE * 3)
    faces = np.stack(read_frames(moving.clips[0].frames))
    expected = show(faces, range(6), [3], streams(apex)[0], onset=0)
    np.testing.assert_allclose(x[0].ravel(), expected.ravel(), atol=1e-5)
    unknown = replace(moving, clips=tuple(replace(c, apex=None) for c in moving.clips))
    assert "needs an annotated apex" in fill(unknown, [apex], cache=cache).faults[0]
    spotted = settings({"kind": "flow"}, keyframes={"method": "apex-or-spotted", "count": 1},
                       **patches)  # fmt: skip
    np.testing.assert_allclose(numbers(spotted, unknown, cache)[0], x[0], atol=1e-5)
    found = embed_frames(read_frames(unknown.clips[0].frames), spotted)
    assert found.keyframes == [3]
    assert "no apex was given; frame 3" in found.notes[0]


def test_every_kind_and_method_can_be_searched() -> None:
    space = {
        "name": "inputs", "data": {"reader": "casme2", "root": "x"},
        "features": {
            "input": {
                "kind": {"choice": [*KINDS, "appearance+difference", "appearance+flow"]},
                "flow": {"choice": [*METHODS], "when": {"kind": ["flow", "appearance+flow"]}},
                "magnification": {"choice": [1.0, 4.0, 8.0]},
            },
            "augment": {"flip": {"choice": [False, True]}},
        },
    }  # fmt: skip
    found = space_file.from_dict(space).feature_settings()
    assert len(found) == (2 * 3 + 4) * 3 * 2
    assert {f.input.kind for f in found} >= {*KINDS}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flow", "appearance+flow"])
def test_a_face_network_sees_pictures_of_motion(kind: str, moving: DataSet, cache: Cache) -> None:
    network = {"name": "facenet-casia", "layer": "repeat_1", "weights": "random"}
    features = settings({"kind": kind}, {"flip": True}, backbone=network)
    x = numbers(features, moving, cache)
    assert x.shape == (4, K, 289, 256 * len(streams(features)))
    found = embed_frames(read_frames(moving.clips[1].frames), features)
    np.testing.assert_allclose(found.x[0], x[1], atol=1e-4)
    if kind == "appearance+flow":  # the frames themselves are what they are without a stream
        alone = settings(backbone=network)
        assert fill(moving, [alone], cache=cache).frames_embedded == 0
        np.testing.assert_array_equal(feature_set(moving, alone, cache=cache).x, x[:2, ..., :256])
