"""Tiny precomputed maps: the whole way of a search without a face network."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np


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
