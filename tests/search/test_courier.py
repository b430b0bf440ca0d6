"""Entries that are not here, or are older, are fetched once; the rest is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from mer_search.features.cache import Cache
from mer_search.search.courier import Courier, bring


class Method:
    """Stands for an actor's method: the call is made at once."""

    def __init__(self, method: Any) -> None:
        self.method = method

    def remote(self, *arguments: Any) -> Any:
        return self.method(*arguments)


class Stub:
    """An actor handle without Ray."""

    def __init__(self, courier: Courier) -> None:
        self.asked: list[str] = []
        self.digests = Method(courier.digests)
        self.entry = Method(lambda key: self.asked.append(key) or courier.entry(key))


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "get", lambda value: value)


def test_a_node_fetches_each_entry_once_and_again_when_it_was_widened(tmp_path: Path) -> None:
    theirs, ours = Cache(tmp_path / "driver"), Cache(tmp_path / "node")
    theirs.write("aa1", {"rows": np.arange(6).reshape(3, 2)})
    theirs.write("bb2", {"rows": np.ones((1, 2))})
    courier = Stub(Courier(theirs.root))
    assert bring(["aa1", "bb2", "never-written"], to=ours, courier=courier) == 2
    assert bring(["aa1", "bb2"], to=ours, courier=courier) == 0
    assert courier.asked == ["aa1", "bb2"]
    assert ours.path("aa1").read_bytes() == theirs.path("aa1").read_bytes()
    theirs.write("aa1", {"rows": np.arange(8).reshape(4, 2)})
    assert bring(["aa1", "bb2"], to=ours, courier=courier) == 1
    np.testing.assert_array_equal(ours.rows("aa1", "rows", [3]), [[6, 7]])
    assert not ours.has("never-written")


def test_a_damaged_copy_is_fetched_again(tmp_path: Path) -> None:
    theirs, ours = Cache(tmp_path / "driver"), Cache(tmp_path / "node")
    theirs.write("aa1", {"rows": np.arange(6)})
    ours.put("aa1", b"half of an entry")
    assert ours.digest("aa1") == ""
    assert bring(["aa1"], to=ours, courier=Stub(Courier(theirs.root))) == 1
    assert ours.digest("aa1") == theirs.digest("aa1") != ""
