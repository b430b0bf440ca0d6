from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_search.errors import InputError
from mer_search.features.keyframes import METHODS, Evidence, basis, select, tim_weights


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    frames = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    marks = sorted(draw(st.lists(st.integers(0, frames - 1), min_size=3, max_size=3)))
    shape = draw(st.sampled_from(["random", "constant", "steps"]))
    curve = {
        "random": rng.random(frames),
        "constant": np.zeros(frames),
        "steps": rng.integers(0, 2, frames).astype(float),
    }[shape].astype(np.float32)
    looks = rng.random((frames, 3)).astype(np.float32)
    looks = looks if shape == "random" else np.repeat(curve[:, None], 3, axis=1)
    curves = {"difference": curve, "ssim": curve, "flow": curve, "kmeans": looks}
    return Evidence(frames, marks[0], marks[1], marks[2], curves)


@pytest.mark.parametrize("method", sorted(METHODS))
@settings(max_examples=40, deadline=None)
@given(evidence=evidences(), count=st.integers(1, 20))
def test_positions_are_sorted_in_range_and_exactly_k(
    method: str, evidence: Evidence, count: int
) -> None:
    found = select(method, count, evidence)
    assert len(found) == (evidence.frames if method == "all" else count)
    assert found.dtype == np.int64
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0
    assert found.max() < evidence.frames
    if count <= evidence.frames and not method.startswith("apex"):
        assert len(set(found.tolist())) == len(found)
    assert found.tolist() == select(method, count, evidence).tolist()


@given(evidence=evidences(), count=st.integers(1, 20))
def test_apex_is_among_its_keyframes(evidence: Evidence, count: int) -> None:
    assert evidence.apex in select("apex", count, evidence)
    either = select("apex-or-spotted", count, evidence).tolist()
    assert either == select("apex", count, evidence).tolist()
    spotted = replace(evidence, apex=None)
    assert evidence.curves["difference"].argmax() in select("apex-or-spotted", count, spotted)


def test_uniform_spans_the_clip_and_one_keyframe_is_the_middle() -> None:
    assert select("uniform", 5, Evidence(9)).tolist() == [0, 2, 4, 6, 8]
    assert select("uniform", 1, Evidence(9)).tolist() == [4]
    assert select("uniform", 6, Evidence(3)).tolist() == [0, 0, 1, 1, 2, 2]


def test_difference_takes_the_frames_least_like_the_onset() -> None:
    curve = np.array([0, 1, 5, 9, 7, 2], np.float32)
    assert select("difference", 3, Evidence(6, curves={"difference": curve})).tolist() == [2, 3, 4]


def test_flow_gives_fast_stretches_more_keyframes() -> None:
    flow = np.array([0, 0.1, 0.1, 4, 4, 4, 0.1, 0.1, 0.1, 0.1], np.float32)
    found = select("flow", 5, Evidence(10, curves={"flow": flow}))
    assert sum(3 <= p <= 5 for p in found) == 3


def test_apex_rises_and_falls_in_equal_steps() -> None:
    assert select("apex", 5, Evidence(20, 2, 6, 18)).tolist() == [2, 4, 6, 12, 18]


def test_kmeans_finds_one_frame_of_each_group() -> None:
    looks = np.repeat(np.array([[0.0], [5.0], [9.0]], np.float32), 4, axis=0)
    looks += np.linspace(0, 0.1, 12, dtype=np.float32)[:, None]
    found = select("kmeans", 3, Evidence(12, curves={"kmeans": looks}))
    assert [int(p) // 4 for p in found] == [0, 1, 2]


@given(st.integers(1, 60))
def test_tim_returns_each_frame_at_its_own_position(frames: int) -> None:
    np.testing.assert_allclose(tim_weights(frames, frames), np.eye(frames), atol=1e-9)


@given(st.integers(1, 40), st.integers(1, 40))
def test_tim_weights_sum_to_one_and_end_on_the_ends(frames: int, count: int) -> None:
    weights = tim_weights(frames, count)
    assert weights.shape == (count, frames)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-9)
    if count > 1:
        np.testing.assert_allclose(weights[[0, -1]], np.eye(frames)[[0, -1]], atol=1e-9)


@given(st.integers(2, 20), st.integers(1, 6))
def test_tim_returns_every_frame_among_more_keyframes_than_frames(frames: int, finer: int) -> None:
    """m(T-1)+1 equal steps pass a frame at every m-th: the weights there are that frame's alone."""
    weights = tim_weights(frames, finer * (frames - 1) + 1)
    np.testing.assert_allclose(weights[::finer], np.eye(frames), atol=1e-9)


@given(st.integers(0, 99), st.integers(2, 12), st.integers(1, 20), st.data())
def test_tim_of_identical_neighbours_is_finite_exact_and_without_noise(
    seed: int, frames: int, count: int, data: st.DataObject
) -> None:
    clip = np.random.default_rng(seed).normal(size=(frames, 5))
    for twin in data.draw(st.lists(st.integers(1, frames - 1), min_size=1)):
        clip[twin] = clip[twin - 1]
    mixed = tim_weights(frames, count) @ clip
    assert np.isfinite(mixed).all()
    np.testing.assert_array_equal(mixed, tim_weights(frames, count) @ clip)
    np.testing.assert_allclose(tim_weights(frames, frames) @ clip, clip, atol=1e-9)


def test_tim_of_identical_frames_is_that_frame() -> None:
    clip = np.full((7, 3), 4.2)
    np.testing.assert_allclose(tim_weights(7, 12) @ clip, 4.2)


def test_tim_agrees_with_the_published_regression() -> None:
    """Zhou et al.: mean-free SVD, projection fitted to the path graph's eigenvectors, inverted."""
    frames, count = 6, 9
    x = np.random.default_rng(0).normal(size=(40, frames))
    centred = x - x.mean(1, keepdims=True)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    u, q = u[:, : frames - 1], (s[:, None] * vt)[: frames - 1]
    laplacian = np.diag([1, *[2] * (frames - 2), 1]) - np.eye(frames, k=1) - np.eye(frames, k=-1)
    y = np.linalg.eigh(laplacian)[1][:, 1:].T
    nodes = np.arange(1, frames + 1) / frames
    k = np.arange(1, frames)[:, None]

    def curve(t: np.ndarray) -> np.ndarray:
        return np.sin(np.pi * k * t + np.pi * (frames - k) / (2 * frames))

    m = (y @ curve(nodes).T) / (curve(nodes) ** 2).sum(1)  # eigenvector = m @ curve at the nodes
    w = np.linalg.solve(q @ q.T, q @ y.T)
    at = np.linspace(1 / frames, 1, count)
    published = u @ np.linalg.solve(w.T, m @ curve(at)) + x.mean(1, keepdims=True)
    np.testing.assert_allclose(tim_weights(frames, count) @ x.T, published.T, atol=1e-9)


@pytest.mark.parametrize(
    ("method", "count", "evidence", "told"),
    [
        ("unifrom", 3, Evidence(5), "picks no frames; did you mean 'uniform'"),
        ("tim", 3, Evidence(5), "use tim_weights"),
        ("apex", 3, Evidence(5), "needs an annotated apex and this clip has none"),
        ("flow", 3, Evidence(5), "needs evidence that was not computed"),
        ("uniform", 0, Evidence(5), "must be at least 1, found 5 and 0"),
        ("uniform", 2, Evidence(0), "must be at least 1, found 0 and 2"),
    ],
)
def test_refusals(method: str, count: int, evidence: Evidence, told: str) -> None:
    with pytest.raises(InputError, match=told):
        select(method, count, evidence)


def test_tim_refuses_an_empty_clip() -> None:
    with pytest.raises(InputError, match="must be at least 1, found 0, 4"):
        tim_weights(0, 4)


@pytest.mark.parametrize(
    ("method", "boundaries", "onset_known", "expected"),
    [
        ("uniform", "annotated", True, "annotated"),
        ("uniform", "spotted", True, "spotted"),
        ("apex", "spotted", False, "annotated"),
        ("difference", "spotted", True, "annotated"),
        ("difference", "spotted", False, "spotted"),
    ],
)
def test_basis(method: str, boundaries: str, onset_known: bool, expected: str) -> None:
    assert basis(method, boundaries=boundaries, onset_known=onset_known) == expected


@pytest.mark.parametrize(("known", "expected"), [(True, "annotated"), (False, "spotted")])
def test_basis_of_apexes_some_of_which_are_spotted(known: bool, expected: str) -> None:
    method = "apex-or-spotted"
    found = basis(method, boundaries="spotted", onset_known=False, apex_known=known)
    assert found == expected
