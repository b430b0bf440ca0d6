"""The faults of a cluster in words: each with its node and its cure."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from mer_search.errors import InputError, MerSearchError
from mer_search.features.cache import Cache
from mer_search.search.courier import cache_here
from mer_search.search.nodes import Node, fits, reach, room
from mer_search.search.preflight import Answer, examine, faults_of, resource_fault, versions
from mer_search.search.worker import device_of

MINE = {"Python": "3.11.7", "Ray": "2.60.0", "mer-search": "0.1.0 (source 01234567)"}
NODES = [
    Node("a", "alpha (10.0.0.1)", {"CPU": 4.0, "GPU": 1.0}),
    Node("b", "beta (10.0.0.2)", {"CPU": 7.0}),
]


def test_a_node_that_is_like_the_driver_has_no_fault() -> None:
    assert list(faults_of("alpha", Answer(MINE, "", ""), MINE)) == []


def test_all_that_is_wrong_with_a_node_is_told() -> None:
    theirs = {**MINE, "Ray": "2.59.0", "mer-search": "0.1.0 (source 89abcdef)"}
    ray, ours, store, cache = faults_of("alpha", Answer(theirs, "/s is away", "/c is full"), MINE)
    assert ray == "node alpha has Ray 2.59.0, the driver has 2.60.0; install the same on both"
    assert "source 89abcdef" in ours
    assert store.startswith("node alpha: the store /s is away; mount the same folder there")
    assert cache.startswith("node alpha: its folder for features /c is full; set MER_SEARCH_CACHE")


def test_a_node_that_cannot_answer_is_told_with_the_reason() -> None:
    (told,) = faults_of("beta", None, MINE, why="ModuleNotFoundError: No module named 'mer_search'")
    assert told.startswith("node beta cannot run mer-search (ModuleNotFoundError: No module")
    assert "`mer-search submit`" in told


def test_a_trial_that_fits_nowhere_is_told_with_what_every_node_has() -> None:
    assert resource_fault({"CPU": 1.0, "GPU": 2.0}, NODES) == (
        "a trial asks for cpu 1 and gpu 2 on one node, but alpha (10.0.0.1) has cpu 4, gpu 1; "
        "beta (10.0.0.2) has cpu 7, gpu 0, and no autoscaler brings more; lower it with "
        "--set resources.cpu=.. or --set resources.gpu=.., or add a node that has it"
    )


@pytest.mark.parametrize(
    ("needs", "trials"),
    [
        ({"CPU": 1.0}, 11),
        ({"CPU": 3.0}, 3),  # 1 + 2: what is left over on two nodes is not one place
        ({"CPU": 0.5, "GPU": 0.25}, 4),
        ({"CPU": 0.1, "GPU": 0.1}, 10),
        ({"CPU": 1.0, "GPU": 2.0}, 0),
    ],
)
def test_trials_that_fit_are_counted_node_by_node(needs: dict[str, float], trials: int) -> None:
    assert room(needs, NODES) == trials
    assert any(fits(needs, node.resources) for node in NODES) == bool(trials)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "head", "head:", "ray://head:1"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="is no Ray cluster; write auto or HOST:PORT"):
        reach(address)


def test_an_address_where_nobody_listens_is_told_at_once() -> None:
    with pytest.raises(MerSearchError, match=r"no Ray cluster answers at 127\.0\.0\.1:9 "):
        reach("127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        reach(f"127.0.0.1:{listening.getsockname()[1]}")
    reach("auto")


def test_a_store_of_the_same_name_that_is_another_one_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "store" / ".preflight").mkdir(parents=True)
    assert "what the driver wrote is not in it" in examine(str(tmp_path / "store"), "m", "n").store
    (tmp_path / "store" / ".preflight" / "m").write_bytes(b"driver")
    assert examine(str(tmp_path / "store"), "m", "n") == Answer(versions(), "", "")
    assert (tmp_path / "store" / ".preflight" / "m-n").exists()
    told = examine("no-such-protocol://store", "m", "n").store
    assert "no-such-protocol://store cannot be read and written (ValueError: " in told


def test_a_folder_for_features_that_cannot_be_written_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "file"))
    assert "cannot be written (NotADirectoryError: " in examine(str(tmp_path), "m", "n").cache


def test_only_a_node_that_sees_the_drivers_cache_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "home"))
    cache = Cache(tmp_path / "driver")
    identity = cache.identity()
    assert identity == cache.identity() != ""
    assert cache_here(cache.root, identity) == cache
    assert cache_here(tmp_path / "away", identity).root == tmp_path / "home" / "copies" / identity
    other = Cache(tmp_path / "other")
    other.identity()
    assert cache_here(other.root, identity).root == tmp_path / "home" / "copies" / identity


def test_the_device_is_what_ray_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_of([]) == ("cpu", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of([]) == ("cpu", "")
    assert device_of(["3"]) == ("cuda", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    device, said = device_of(["3"])
    assert device == "cpu"
    assert said.startswith("Ray granted GPU 3 on ")
    assert "finds no CUDA device, so the CPU was used; install torch for CUDA there" in said
