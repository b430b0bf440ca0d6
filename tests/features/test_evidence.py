from __future__ import annotations

import cv2
import numpy as np
import pytest

from mer_search.features.evidence import CURVES, curves, grey, pictures


@pytest.fixture
def moving() -> np.ndarray:
    """A patch that moves 0, 0, 1, 3, 3, 3 pixels to the right of where it began."""
    rng = np.random.default_rng(0)
    base = cv2.resize(rng.integers(0, 255, (12, 16, 3)).astype(np.uint8), (64, 48))
    return np.stack([np.roll(base, step, axis=1) for step in (0, 0, 1, 3, 3, 3)])


def test_every_curve_has_one_value_or_row_per_frame(moving: np.ndarray) -> None:
    found = curves(moving, CURVES, onset=0)
    assert {name: len(curve) for name, curve in found.items()} == dict.fromkeys(CURVES, 6)
    assert all(curve.dtype == np.float32 for curve in found.values())
    assert found["kmeans"].ndim == 2


def test_difference_and_ssim_grow_with_the_movement(moving: np.ndarray) -> None:
    found = curves(moving, ["difference", "ssim"], onset=1)
    for curve in found.values():
        assert curve[0] == curve[1] == pytest.approx(0, abs=1e-6)
        assert curve[1] < curve[2] < curve[3]
        assert curve[3] == curve[5]


def test_flow_is_the_movement_since_the_frame_before(moving: np.ndarray) -> None:
    flow = curves(moving, ["flow"], onset=0)["flow"]
    assert flow[[0, 1, 4, 5]].max() < 0.05
    assert 0.5 < flow[2] < 1.5
    assert 1.2 < flow[3] < 2.8


def test_maps_are_stretched_to_the_range_of_brightness() -> None:
    maps = np.linspace(-1, 1, 2 * 4 * 4 * 2, dtype=np.float32).reshape(2, 4, 4, 2)
    shades = grey(maps)
    assert (shades.min(), shades.max()) == (0, 255)
    assert grey(np.full((2, 4, 4, 1), 3.0)).max() == 0
    assert set(curves(maps, CURVES, onset=0)) == set(CURVES)
    assert pictures(maps).shape == (2, 4, 4, 3)


def test_maps_too_small_for_windows_are_compared_by_difference() -> None:
    maps = np.random.default_rng(0).random((3, 2, 2, 1)).astype(np.float32)
    found = curves(maps, ["ssim", "difference"], onset=0)
    np.testing.assert_array_equal(found["ssim"], found["difference"])
