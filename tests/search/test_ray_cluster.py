"""Joining Ray without Ray: what is told where it does not start."""

from __future__ import annotations

from typing import Any

import pytest

from mer_search.errors import MerSearchError
from mer_search.search import cluster


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (
            None,
            r"Ray did not start on this machine \(TimeoutError: the node timed out\); as a rule",
        ),
        ("auto", r"the Ray cluster at auto cannot be joined \(TimeoutError: the node timed out\)"),
    ],
)
def test_a_ray_that_does_not_come_up_is_one_message(
    monkeypatch: pytest.MonkeyPatch, address: str | None, told: str
) -> None:
    import ray

    ended: list[bool] = []

    def late(**options: Any) -> None:
        raise TimeoutError("Traceback of Ray\nthe node timed out\n")

    monkeypatch.setattr(ray, "init", late)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(True))
    for name in cluster.RAY:
        monkeypatch.setenv(name, cluster.RAY[name])
    with pytest.raises(MerSearchError, match=told), cluster.ray_cluster(address):
        pytest.fail("there is no Ray")
    assert ended == [True]
