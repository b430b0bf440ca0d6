"""The whole search once per outer group: on a real Ray, stopped, continued, and read back."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from drivers import Driver
from ray_head import Head

from mer_search import space_file
from mer_search.loso.ledger import Ledger
from mer_search.loso.nested import read_nested
from mer_search.loso.result import read_protocol
from mer_search.search.nested import inner_experiment


def test_an_inner_search_has_its_own_seed_and_blocks(tiny_space: Path) -> None:
    whole = space_file.read(tiny_space, ["evaluation.outer.folds=group-3"])
    inner = inner_experiment(whole, "02", 2)
    assert (inner.name, inner.search.seed) == ("02", whole.search.seed + 3)
    assert inner.search.racing.blocks == "auto"
    assert inner.evaluation.outer is None
    assert inner.domains == whole.domains


def test_outer_groups_may_be_asked_for_later(tiny_space: Path) -> None:
    plain = space_file.read(tiny_space)
    nested = space_file.read(tiny_space, ["evaluation.outer.folds=group-3"])
    assert nested.identity("x") == plain.identity("x")
    assert nested.as_file()["evaluation"]["outer"] == {"folds": "group-3"}


def test_second_chances_may_be_asked_for_later_and_nothing_else_of_a_race(tiny_space: Path) -> None:
    race = "search.racing.rule=asha"
    plain = space_file.read(tiny_space, [race])
    later = space_file.read(tiny_space, [race, "search.racing.second_chances=3"])
    assert later.identity("x") == plain.identity("x")
    assert later.as_file()["search"]["racing"]["second_chances"] == 3
    assert "keep" not in plain.identity("x")["search"]["racing"]  # older searches stay the same
    other = space_file.read(tiny_space, [race, "search.racing.keep=0.3"])
    assert other.identity("x") != plain.identity("x")


@pytest.mark.ray
def test_a_nested_search_is_stopped_continued_and_read(
    one_node: Head, tiny_space: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    launch = ["launch", tiny_space, "--address", one_node.gcs, "--store", store,
              "--tracking", "none", "--trials", "2", "--set", "train.epochs=3",
              "--set", "evaluation.outer.folds=group-2"]  # fmt: skip

    def start(*line: object) -> Driver:
        return Driver(*line, log=tmp_path / "driver.log", environment=dict(os.environ))

    driver = start(*launch)
    driver.wait_to_say("search 00")
    os.kill(driver.pid, signal.SIGINT)
    told = driver.ended()
    assert driver.code == 130, told
    ledger = Ledger(str(store), "tiny")
    begun = read_nested(ledger, "uf1")
    assert begun is not None
    assert not begun.complete
    assert begun.as_json()["uf1"] is None

    driver = start(*launch)
    told = driver.ended()
    assert driver.code == 0, told
    nested, protocol = read_nested(ledger, "uf1"), read_protocol(ledger)
    assert nested is not None
    assert nested.complete
    for group in nested.groups:
        inner = read_protocol(ledger.inner(group.number))
        assert group.block is not None
        assert set(inner.keys) | set(group.block.keys) == set(protocol.keys)
        assert not set(inner.subject) & set(group.subjects)
    assert np.isfinite(nested.probs).all()
    best = json.loads(start("compare", "tiny", "--store", store, "--json").ended())["best"]
    assert best["nested"]["uf1"] == nested.scores["uf1"]
    assert best["nested"]["groups_scored"] == 2

    refused = start(*launch[:-1], "evaluation.outer.folds=group-3")
    told = refused.ended()
    assert refused.code == 2, told
    assert "evaluation.outer.folds: was 'group-2', now 'group-3'" in told
