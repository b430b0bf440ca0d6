"""Filling the cache and reading it back, on invented clips and random or no weights."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mer_search.config import Features
from mer_search.datasets.clips import Clip, DataSet
from mer_search.errors import DamagedRecord, InputError, WeightsMissing
from mer_search.features import align, extract, filling, plan
from mer_search.features.align import Placement
from mer_search.features.backbones import build
from mer_search.features.cache import Cache
from mer_search.features.extract import embed_frames, feature_set, fill
from mer_search.features.frames import read_frames
from mer_search.features.keyframes import METHODS

RANDOM = {"name": "facenet-casia", "layer": "repeat_1", "weights": "random"}


def settings(
    method: str = "uniform", count: int = 3, *, reference: str = "none", **backbone: Any
) -> Features:
    """Faces that are aligned already, cut into patches unless a network is named."""
    chosen = backbone or {"name": "patches", "grid": 2}
    return Features.model_validate(
        {
            "align": {"method": "none", "size": 48},
            "keyframes": {"method": method, "count": count},
            "backbone": chosen,
            "reference": reference,
        }
    )


ALL = [*sorted(METHODS.keys() - {"all"}), "tim"]


def test_shapes_labels_and_subjects(dataset: DataSet, cache: Cache) -> None:
    report = fill(dataset, [settings()], cache=cache)
    assert (report.faults, report.notes, report.frames_embedded) == ((), (), 9)
    found = feature_set(dataset, settings(), cache=cache)
    assert found.x.shape == (3, 3, 4, 24 * 24 * 3)
    assert found.x.dtype == np.float32
    assert found.label.tolist() == [0, 1, 0]
    assert found.subject[1] == ("invented", "s2")
    assert found.keys[2] == "invented/s3/c3"
    assert found.classes == ("a", "b")


def test_values_are_those_of_the_files(dataset: DataSet, cache: Cache) -> None:
    fill(dataset, [settings()], cache=cache)
    frames = read_frames(dataset.clips[1].frames)
    x = feature_set(dataset, settings(), cache=cache).x[1]
    np.testing.assert_array_equal(x[2, 1], frames[8][:24, 24:].ravel())


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("regions", ["keep", "mean", "flatten"])
@pytest.mark.parametrize("reference", ["none", "onset"])
def test_one_raw_clip_gives_the_same_numbers(
    method: str, regions: Any, reference: str, dataset: DataSet, cache: Cache
) -> None:
    features = settings(method, 4, reference=reference)
    assert not fill(dataset, [features], cache=cache).faults
    expected = feature_set(dataset, features, cache=cache, regions=regions)
    for n, clip in enumerate(dataset.clips):
        frames = read_frames(clip.frames)
        found = embed_frames(frames, features, onset=0, apex=clip.apex, regions=regions)
        np.testing.assert_allclose(found.x[0], expected.x[n], atol=1e-5)
        assert found.faces.shape == (4, 48, 48, 3)
        assert found.keyframes == sorted(found.keyframes)


@pytest.mark.slow
def test_a_face_network_gives_the_same_numbers_for_a_raw_clip(
    dataset: DataSet, cache: Cache
) -> None:
    features = settings("difference", 3, reference="onset", **RANDOM)
    fill(dataset, [features, settings("uniform", 4, **RANDOM)], cache=cache)
    expected = feature_set(dataset, features, cache=cache)
    found = embed_frames(read_frames(dataset.clips[0].frames), features)
    np.testing.assert_allclose(found.x[0], expected.x[0], atol=1e-5)


def test_regions_and_reference(dataset: DataSet, cache: Cache) -> None:
    kept, onset = settings(), settings(reference="onset")
    fill(dataset, [kept, onset], cache=cache)
    x = feature_set(dataset, kept, cache=cache).x
    mean = feature_set(dataset, kept, cache=cache, regions="mean").x
    flat = feature_set(dataset, kept, cache=cache, regions="flatten").x
    np.testing.assert_allclose(mean, x.mean(2, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(flat, x.reshape(3, 3, 1, -1))
    subtracted = feature_set(dataset, onset, cache=cache).x
    np.testing.assert_array_equal(subtracted, x - x[:, :1])  # uniform begins with the onset


def test_only_needed_frames_are_embedded_and_an_entry_grows(dataset: DataSet, cache: Cache) -> None:
    first = fill(dataset, [settings(count=2)], cache=cache)
    assert first.frames_embedded == 6
    assert fill(dataset, [settings(count=2)], cache=cache).frames_embedded == 0
    before = feature_set(dataset, settings(count=2), cache=cache)
    more = [settings(count=2), settings(count=3), settings("tim", 7)]
    assert fill(dataset, more, cache=cache).frames_embedded == 6 + 9 + 5 - 6
    assert fill(dataset, [settings("kmeans", 4)], cache=cache).frames_embedded == 0
    np.testing.assert_array_equal(feature_set(dataset, settings(count=2), cache=cache).x, before.x)


def test_progress_counts_frames(dataset: DataSet, cache: Cache) -> None:
    told: list[tuple[int, int, float]] = []
    fill(dataset, [settings()], cache=cache, progress=lambda *now: told.append(now))
    assert [(done, total) for done, total, _ in told] == [(3, 9), (6, 9), (9, 9)]
    assert all(speed > 0 for _, _, speed in told)


def test_digests_name_data_settings_and_regions(dataset: DataSet, cache: Cache) -> None:
    fill(dataset, [settings(), settings(count=2)], cache=cache)
    digests = [
        feature_set(dataset, settings(), cache=cache).digest,
        feature_set(dataset, settings(count=2), cache=cache).digest,
        feature_set(dataset, settings(), cache=cache, regions="mean").digest,
        feature_set(replace(dataset, clips=dataset.clips[:2]), settings(), cache=cache).digest,
    ]
    assert len(set(digests)) == 4
    assert feature_set(dataset, settings(), cache=cache).digest == digests[0]


@pytest.mark.slow
def test_precision_is_part_of_key_and_digest(
    make_clip: Callable[..., Clip], dataset: DataSet, cache: Cache
) -> None:
    one = replace(dataset, clips=(make_clip("p1", frames=2), make_clip("p2", frames=2)))
    both = [settings(count=1, **RANDOM, precision=name) for name in ("fp32", "bf16")]
    assert fill(one, both, cache=cache).frames_embedded == 4, "neither serves for the other"
    full, half = (feature_set(one, each, cache=cache) for each in both)
    assert full.digest != half.digest
    assert 0 < np.abs(full.x - half.x).max() < 0.1 * np.abs(full.x).max()


@pytest.mark.parametrize("quick", [True, False])
def test_bf16_without_instructions_for_it_is_told_once(
    quick: bool,
    dataset: DataSet,
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(
        filling, "build_backbone", lambda *_, **__: build("patches", "grid", grid=2)
    )
    monkeypatch.setattr(filling, "multiplies_bf16", lambda device: quick)
    filling.warn_of_bf16.cache_clear()
    layers = ("repeat_1", "repeat_2")
    both = [settings(count=1, **RANDOM | {"layer": name, "precision": "bf16"}) for name in layers]
    small = [setting.model_copy(update={"align": align_settings("none", 56)}) for setting in both]
    assert fill(dataset, small, cache=cache).frames_embedded == 6
    told = [record.message for record in caplog.records if "no bf16 instructions" in record.message]
    assert len(told) == (0 if quick else 1)


def test_a_gpu_multiplies_bf16() -> None:
    assert filling.multiplies_bf16("cuda")
    assert isinstance(filling.multiplies_bf16("cpu"), bool)


def test_a_moved_data_set_is_the_same(dataset: DataSet, cache: Cache, tmp_path: Path) -> None:
    fill(dataset, [settings()], cache=cache)
    (tmp_path / "frames").rename(tmp_path / "moved")
    clips = tuple(
        replace(c, frames=tuple(tmp_path / "moved" / c.name / f.name for f in c.frames))
        for c in dataset.clips
    )
    moved = replace(dataset, clips=clips)
    assert fill(moved, [settings()], cache=cache).frames_embedded == 0
    assert feature_set(moved, settings(), cache=cache).digest


def test_all_frames(make_clip: Callable[..., Clip], dataset: DataSet, cache: Cache) -> None:
    same = replace(dataset, clips=(make_clip("d1"), make_clip("d2")))
    fill(same, [settings("all")], cache=cache)
    assert feature_set(same, settings("all"), cache=cache).x.shape[:2] == (2, 6)
    with pytest.raises(InputError, match="needs clips of one length, but invented/s3/c3 has 5"):
        feature_set(dataset, settings("all"), cache=cache)


def test_what_is_not_in_the_cache(dataset: DataSet, cache: Cache) -> None:
    with pytest.raises(InputError, match=r"3 of 3 clips are not .* run `mer-search extract`"):
        feature_set(dataset, settings(), cache=cache)
    fill(dataset, [settings(count=2)], cache=cache)
    with pytest.raises(InputError, match=r"3 of 3 clips are not .*\(invented/s1/c1, \.\.\.\)"):
        feature_set(dataset, settings(count=4), cache=cache)
    with pytest.raises(InputError, match="3 of 3 clips are not"):
        feature_set(dataset, settings("flow", 2), cache=cache)
    with pytest.raises(InputError, match="must be one of keep, mean, flatten, found 'sum'"):
        feature_set(dataset, settings(count=2), cache=cache, regions="sum")  # type: ignore[arg-type]


def test_maps_of_different_sizes(
    make_clip: Callable[..., Clip], dataset: DataSet, cache: Cache
) -> None:
    mixed = replace(dataset, clips=(make_clip("d1"), make_clip("d2", size=32)))
    fill(mixed, [settings()], cache=cache)
    with pytest.raises(InputError, match=r"must have maps of one size, but invented/s1/d1 gives"):
        feature_set(mixed, settings(), cache=cache)


def test_damaged_entries_are_computed_again_and_said_so(dataset: DataSet, cache: Cache) -> None:
    features = settings("difference", 3)
    fill(dataset, [features], cache=cache)
    before = feature_set(dataset, features, cache=cache)
    for path in cache.root.glob("??/*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    with pytest.raises(DamagedRecord, match="is not what was written; extract again"):
        feature_set(dataset, features, cache=cache)
    report = fill(dataset, [features], cache=cache)
    assert report.frames_embedded == 9
    assert report.faults == ()
    assert report.notes == tuple(
        f"{clip.key}: its cache entry was damaged and is computed again" for clip in dataset.clips
    )
    np.testing.assert_array_equal(feature_set(dataset, features, cache=cache).x, before.x)


def test_clips_that_cannot_be_used_are_told_and_the_others_done(
    make_clip: Callable[..., Clip], dataset: DataSet, cache: Cache
) -> None:
    no_apex = replace(dataset.clips[0], apex=None)
    broken = make_clip("e1")
    broken.frames[2].write_text("no picture")
    maps = replace(make_clip("e2"), frames=(broken.frames[0].with_name("m.npy"),) * 2)
    np.save(maps.frames[0], np.zeros((48, 48, 2), np.float32))
    odd = replace(dataset, clips=(no_apex, broken, maps, *dataset.clips[1:]))
    report = fill(odd, [settings("apex", 2, **RANDOM), settings("flow", 2, **RANDOM)], cache=cache)
    assert report.faulty == (no_apex.key, broken.key, maps.key)
    assert "needs an annotated apex" in report.faults[0]
    assert "img3.png: a frame must be an image" in report.faults[1]
    assert "takes 8-bit colour images, found float32" in report.faults[2]
    good = replace(dataset, clips=dataset.clips[1:])
    assert feature_set(good, settings("flow", 2, **RANDOM), cache=cache).x.shape[0] == 2


def test_patches_that_do_not_divide_the_map_are_refused(dataset: DataSet, cache: Cache) -> None:
    with pytest.raises(InputError, match="must divide the maps' height and width, found 7 for 48"):
        fill(dataset, [settings(name="patches", grid=7)], cache=cache)


def test_missing_weights_are_told_before_any_work(dataset: DataSet, cache: Cache) -> None:
    with pytest.raises(WeightsMissing, match=r"bring vgg_face_dag\.pth"):
        fill(dataset, [settings(), settings(name="vgg-face")], cache=cache)
    assert not cache.root.exists()
    with pytest.raises(WeightsMissing, match=r"bring vgg_face_dag\.pth"):
        feature_set(dataset, settings(name="vgg-face"), cache=cache)


def invented_faces(monkeypatch: pytest.MonkeyPatch, found: dict[int, Placement]) -> list[int]:
    """MTCNN replaced by placements for frames of a given height; counts what it is shown."""
    shown: list[int] = []

    def locate(images: list[np.ndarray], *, device: str) -> list[Placement]:
        shown.extend(image.shape[0] for image in images)
        return [found[image.shape[0]] for image in images]

    monkeypatch.setattr(align, "locate", locate)
    return shown


def test_faces_are_searched_once_per_clip_on_the_onset_frame(
    make_clip: Callable[..., Clip],
    dataset: DataSet,
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clips = (make_clip("f1"), make_clip("f2", size=40), make_clip("f3", size=56))
    matrix = np.array([[1 / 48, 0, 0], [0, 1 / 48, 0]])
    shown = invented_faces(
        monkeypatch,
        {48: Placement(matrix), 40: Placement(None), 56: Placement(matrix, ("two faces",))},
    )
    mixed = replace(dataset, clips=clips)
    features = settings("difference", 2, **RANDOM)
    features = features.model_copy(update={"align": align_settings("mtcnn")})
    for embedded in (4, 0):
        report = fill(mixed, [features], cache=cache)
        assert shown == [48, 40, 56] + [48] * 3 + [56] * 3, "onsets, then later ones of those found"
        assert report.frames_embedded == embedded
        assert report.faulty == (clips[1].key,)
        assert "no face was found on the onset frame" in report.faults[0]
        assert report.notes == (f"{clips[2].key}: two faces",)
    with_flow = features.model_copy(
        update={"keyframes": features.keyframes.model_copy(update={"method": "flow"})}
    )
    fill(mixed, [with_flow], cache=cache)
    assert len(shown) == 9, "more evidence needs no new search"


def align_settings(method: str, size: int = 48) -> Any:
    return Features.model_validate({"align": {"method": method, "size": size}}).align


def test_an_unreadable_onset_frame(
    make_clip: Callable[..., Clip], dataset: DataSet, cache: Cache
) -> None:
    clip = make_clip("g1")
    clip.frames[0].write_bytes(b"")
    features = settings(**RANDOM).model_copy(update={"align": align_settings("mtcnn")})
    report = fill(replace(dataset, clips=(clip,)), [features], cache=cache)
    assert "img1.png: a frame must hold an image, this file is empty" in report.faults[0]


def test_a_later_frame_that_is_only_looked_at_may_be_unreadable(
    make_clip: Callable[..., Clip],
    dataset: DataSet,
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = invented_faces(monkeypatch, {48: Placement(np.array([[1 / 48, 0, 0], [0, 1 / 48, 0]]))})
    clip = make_clip("g2")
    clip.frames[2].write_bytes(b"")
    features = settings("uniform", 2, **RANDOM)
    features = features.model_copy(update={"align": align_settings("mtcnn")})
    report = fill(replace(dataset, clips=(clip,)), [features], cache=cache)
    assert (report.faults, report.notes, len(shown)) == ((), (), 3)
    clip = make_clip("g3")
    clip.frames[5].write_bytes(b"")
    report = fill(replace(dataset, clips=(clip,)), [features], cache=cache)
    assert "img6.png: a frame must hold an image, this file is empty" in report.faults[0]


def test_keys_of_a_search_are_kept_by_clean(dataset: DataSet, cache: Cache) -> None:
    fill(dataset, [settings("flow"), settings(count=2, **RANDOM)], cache=cache)
    cache.clean(plan.keys(dataset, [settings("flow")]))
    assert feature_set(dataset, settings("flow"), cache=cache).x.shape[0] == 3
    with pytest.raises(InputError, match="are not in the cache"):
        feature_set(dataset, settings(count=2, **RANDOM), cache=cache)


def _fill_in_a_process(dataset: DataSet, root: Path, done: Any) -> None:
    report = fill(dataset, [settings("difference", 3)], cache=Cache(root))
    done.put((report.frames_embedded, report.faults))


@pytest.mark.slow
def test_two_processes_do_the_work_once(
    make_clip: Callable[..., Clip], dataset: DataSet, cache: Cache
) -> None:
    many = replace(dataset, clips=tuple(make_clip(f"h{i}") for i in range(12)))
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    processes = [
        context.Process(target=_fill_in_a_process, args=(many, cache.root, done)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    found = [done.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sum(frames for frames, _ in found) == 36
    assert [faults for _, faults in found] == [(), ()]
    assert feature_set(many, settings("difference", 3), cache=cache).x.shape[0] == 12


def test_clips_another_process_holds_come_last(dataset: DataSet, cache: Cache) -> None:
    key = plan.rows_key(dataset.clips[0], None, settings().backbone, "none")
    other = cache.lock(key)
    other.acquire()
    order: list[int] = []

    def told(done: int, total: int, speed: float) -> None:
        order.append(done)
        if done == 6:
            other.release()

    fill(dataset, [settings()], cache=cache, progress=told)
    assert order == [0, 3, 6, 9]


# ---- one raw clip


def test_videos_that_cannot_be_used(dataset: DataSet) -> None:
    frames = read_frames(dataset.clips[0].frames)
    cases: list[tuple[list[Any], dict[str, int], str]] = [
        ([], {}, "needs at least one frame, found none"),
        ([frames[0], frames[0][:10]], {}, "must have one size"),
        (frames, {"onset": 6}, r"onset must lie in 0\.\.5, found 6"),
        (frames, {"apex": -1}, r"apex must lie in 0\.\.5, found -1"),
    ]
    for given, marks, told in cases:
        with pytest.raises(InputError, match=told):
            embed_frames(given, settings(), **marks)  # type: ignore[arg-type]


def test_a_video_without_a_face() -> None:
    features = settings(**RANDOM).model_copy(update={"align": align_settings("mtcnn")})
    with pytest.raises(
        InputError, match=r"no face was found on frame 0 of 1, .* begin where the whole"
    ):
        embed_frames([np.zeros((64, 64, 3), np.uint8)], features)
    with pytest.raises(InputError, match="takes 8-bit colour images, found float32"):
        embed_frames([np.zeros((64, 64, 3), np.float32)], features)


def test_a_video_whose_face_comes_late_says_where_to_cut(
    dataset: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locate(images: list[np.ndarray], *, device: str) -> list[Placement]:
        return [Placement(np.eye(2, 3) if image.any() else None) for image in images]

    monkeypatch.setattr(align, "locate", locate)
    monkeypatch.setattr(extract, "locate", locate)
    features = settings(**RANDOM).model_copy(update={"align": align_settings("mtcnn")})
    frames = [np.full((40, 40, 3), step >= 9, np.uint8) for step in range(20)]
    with pytest.raises(InputError, match=r"on frame 0 of 20, .*; frame 10 shows one: cut the clip"):
        embed_frames(frames, features)
    with pytest.raises(InputError, match=r"on frame 0 of 9, .*; begin where the whole face is"):
        embed_frames(frames[:9], features)


def test_an_apex_that_is_not_given_is_spotted_and_said_so(dataset: DataSet) -> None:
    frames = read_frames(dataset.clips[1].frames)
    found = embed_frames(frames, settings("apex", 3))
    assert 5 in found.keyframes
    assert found.notes == ("no apex was given; frame 5, most unlike the onset, is taken for it",)


@pytest.mark.slow
def test_real_faces_and_weights(
    real_weights: Path, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A portrait with a moving patch: MTCNN, FaceNet, cache and raw clip agree."""
    from skimage import data

    monkeypatch.setenv("MER_SEARCH_CACHE", str(real_weights))
    monkeypatch.setattr(align, "SMALLEST", 20)
    paths = []
    for t in range(5):
        picture = np.ascontiguousarray(data.astronaut()[..., ::-1])
        picture[130:150, 200:260] = np.roll(picture[130:150, 200:260], min(t, 4 - t), axis=0)
        paths.append(tmp_path / f"{t}.png")
        cv2.imwrite(str(paths[-1]), picture)
    clip = Clip("real", "s1", "c1", "a", 0, 2, 4, tuple(paths))
    features = Features.model_validate(
        {"keyframes": {"method": "difference", "count": 2}, "backbone": {"layer": "block8"}}
    )
    one = DataSet("invented", "1", ("a",), (clip,))
    report = fill(one, [features], cache=cache)
    assert report.faults == ()
    expected = feature_set(one, features, cache=cache)
    found = embed_frames(read_frames(paths), features)
    np.testing.assert_allclose(found.x, expected.x, atol=1e-5)
    assert 2 in found.keyframes
    assert found.faces.shape == (2, 160, 160, 3)
