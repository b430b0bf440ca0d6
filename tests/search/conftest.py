"""A search over tiny precomputed maps: the whole way without a face network."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml


def write_maps(folder: Path, *, subjects: int = 6, clips: int = 4) -> Path:
    """Two maps per clip whose first channel tells the class; returns the manifest."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    manifest = folder / "maps.csv"
    with manifest.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["dataset", "subject", "clip", "label", "path", "frame"])
        for subject in range(subjects):
            for clip in range(clips):
                for frame in range(2):
                    values = rng.standard_normal((8, 8, 2)).astype(np.float32)
                    values[..., 0] += clip % 2
                    name = f"s{subject}c{clip}f{frame}.npy"
                    np.save(folder / name, values)
                    label = ("calm", "moved")[clip % 2]
                    rows.writerow(["toy", f"s{subject}", f"c{clip}", label, name, frame])
    return manifest


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
