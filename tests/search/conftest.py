"""A search over tiny precomputed maps: the whole way without a face network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ray_head import Head, head
from tiny_maps import write_maps


@pytest.fixture(scope="module")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A Ray of two logical processors, and a cache, for all the launches of a file."""
    cache = {"MER_SEARCH_CACHE": str(tmp_path_factory.mktemp("cache"))}
    before = dict(os.environ)
    with head(cpus=2, environment=cache) as running:
        os.environ.update(running.environment)  # drivers and the process that forks them find it
        try:
            yield running
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture
def tiny_space(tmp_path: Path) -> Path:
    """A search-space file whose trials take about a second each."""
    space = {
        "name": "tiny",
        "data": {"reader": "manifest", "root": str(write_maps(tmp_path / "maps"))},
        "features": {"align": {"method": "none"}, "backbone": {"name": "patches", "grid": 2}},
        "model": {"attention": {"choice": ["none", "spatial", "temporal"]},
                  "lstm_size": {"choice": [8, 16]}, "attention_size": 4},
        "train": {"epochs": 60, "batch_size": 8,
                  "learning_rate": {"float": [0.001, 0.02], "log": True}},
        "search": {"trials": 5, "racing": {"rule": "none", "blocks": [1, 1, 1, 1, 1, 1]}},
    }  # fmt: skip
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(space))
    return file
