from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mer_search.errors import DamagedRecord
from mer_search.features.cache import ABANDONED, Cache, intact

KEY = "ab" + "0" * 62


def test_what_is_written_is_read(cache: Cache) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    cache.write(KEY, {"rows": rows, "positions": np.arange(5)})
    assert cache.has(KEY)
    np.testing.assert_array_equal(cache.rows(KEY, "rows", [4, 0, 0]), rows[[4, 0, 0]])
    found = cache.arrays(KEY)
    assert found is not None
    assert sorted(found) == ["positions", "rows"]
    assert sorted(cache.arrays(KEY, ["rows", "other"]) or {}) == ["rows"]


def test_absent_entries(cache: Cache) -> None:
    assert cache.arrays(KEY) is None
    with pytest.raises(DamagedRecord, match="the cache entry is gone; extract again"):
        cache.rows(KEY, "rows", [0])


@pytest.mark.parametrize("where", [3, 20, -1])
def test_a_damaged_entry_is_noticed_on_the_first_read(cache: Cache, where: int) -> None:
    cache.write(KEY, {"rows": np.ones((5, 2), np.float32)})
    content = bytearray(cache.path(KEY).read_bytes())
    content[where] ^= 0x41
    cache.path(KEY).write_bytes(content)
    with pytest.raises(DamagedRecord, match=r"ab0+\.safetensors: the cache entry is not what was"):
        cache.arrays(KEY)


def test_a_cut_entry_is_damaged(cache: Cache) -> None:
    cache.write(KEY, {"rows": np.ones((5, 2), np.float32)})
    cache.path(KEY).write_bytes(cache.path(KEY).read_bytes()[:-4])
    with pytest.raises(DamagedRecord, match="is not what was written"):
        cache.rows(KEY, "rows", [0])


def test_an_entry_is_checked_once(cache: Cache) -> None:
    cache.write(KEY, {"rows": np.ones((5, 2), np.float32)})
    intact.cache_clear()
    for _ in range(3):
        cache.arrays(KEY)
    assert intact.cache_info().misses == 1


def test_a_failed_write_leaves_nothing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        cache.write(KEY, {"rows": np.ones(3)})
    assert not [path for path in cache.root.rglob("*") if path.is_file()]


def test_clean_keeps_what_is_named(cache: Cache) -> None:
    other = "cd" + "0" * 62
    for key in (KEY, other):
        cache.write(key, {"rows": np.ones(3)})
        with cache.lock(key):
            pass
    old, young = cache.root / "ab" / "old.part", cache.root / "ab" / "young.part"
    old.touch()
    young.touch()
    os.utime(old, (0, old.stat().st_mtime - 2 * ABANDONED))
    count, size = cache.clean({KEY})
    assert count == 1
    assert size > 0
    assert cache.has(KEY)
    assert not cache.has(other)
    assert young.exists()
    assert not old.exists()


def test_default_place(own_home: Path) -> None:
    assert Cache.default().root == own_home / "features"
