"""A search over tiny precomputed maps: the whole way without a face network."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny_maps import write_maps


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
