"""Small finished searches: over invented faces and a network of random weights, and over maps."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mer_search import space_file
from mer_search.datasets import DataSet, synthetic
from mer_search.experiment import Experiment
from mer_search.features.cache import Cache
from mer_search.features.extract import feature_set
from mer_search.loso.ledger import Ledger, TrialRecord
from mer_search.loso.run import regions_of, run_block
from mer_search.models.catalogue import HEADS
from mer_search.search.prepare import prepare

ATTENTION = {"choice": ["none", "spatial", "temporal", "spatial-temporal"]}
MODEL = {"attention": ATTENTION, "lstm_size": 16, "attention_size": 8}
FACES: dict[str, Any] = {
    "name": "faces",
    "data": {"reader": "casme2", "classes": {"happy": ["happiness"], "surprised": ["surprise"]}},
    "features": {
        "keyframes": {"method": {"choice": ["uniform", "tim", "difference"]}, "count": 4},
        "backbone": {"name": "facenet-casia", "layer": "block8", "weights": "random"},
        "reference": "onset",
    },
    "model": MODEL,
    "train": {"epochs": 12, "batch_size": 6, "learning_rate": 0.01},
}
FACE_TRIALS: tuple[dict[str, Any], ...] = (
    {"features.keyframes.method": "uniform", "model.attention": "spatial-temporal"},
    {"features.keyframes.method": "tim", "model.attention": "temporal"},
    {"features.keyframes.method": "difference", "model.attention": "none"},
)
MAPS: dict[str, Any] = {
    "name": "maps",
    "data": {"reader": "manifest"},
    "features": {"align": {"method": "none"}, "backbone": {"name": "patches", "grid": 2}},
    "model": {**MODEL, "regions": {"choice": ["mean", "flatten"]}},
    "train": {"epochs": 6, "batch_size": 8, "learning_rate": 0.01},
}
MAP_TRIALS: tuple[dict[str, Any], ...] = (
    {"model.attention": "none", "model.regions": "mean"},
    {"model.attention": "spatial-temporal", "model.regions": "mean"},
    {"model.attention": "temporal", "model.regions": "flatten"},
)
RIVALS: dict[str, Any] = {
    "name": "rivals",
    "data": {"reader": "manifest"},
    "features": {"align": {"method": "none"}, "backbone": {"name": "patches", "grid": 8}},
    "model": {"name": {"choice": sorted(HEADS)}},
    "train": {"epochs": 6, "batch_size": 8, "learning_rate": 0.01},
}


@dataclass(frozen=True)
class Searched:
    """A search with its data: what `export` starts from."""

    ledger: Ledger
    experiment: Experiment
    dataset: DataSet
    cache: Cache

    @property
    def clips(self) -> list[Path]:
        """The folders of the clips' frames."""
        return [clip.frames[0].parent for clip in self.dataset.clips]


def search_faces(folder: Path) -> Searched:
    """3 subjects of 4 clips; every frame goes through MTCNN's placement and FaceNet."""
    root = synthetic.write(folder / "data", subjects=3, clips=4, classes=2, frames=8)
    return search(folder, FACES, FACE_TRIALS, root)


def search_maps(folder: Path) -> Searched:
    """4 subjects of 4 clips of 3 small maps: no network, no images."""
    return search(folder, MAPS, MAP_TRIALS, write_maps(folder / "data"))


def search_rivals(folder: Path) -> Searched:
    """The same maps, looked at pixel by pixel: one trial of every rival model."""
    trials = [{"model.name": name} for name in sorted(HEADS)]
    return search(folder, RIVALS, trials, write_maps(folder / "data", channels=3))


def search(
    folder: Path, space: dict[str, Any], trials: Sequence[dict[str, Any]], root: Path
) -> Searched:
    """Trials with all folds, trained for real; the last one has stopped after its first block."""
    experiment = space_file.from_dict({**space, "data": {**space["data"], "root": str(root)}})
    ledger, cache = Ledger(str(folder / "store"), experiment.name), Cache(folder / "cache")
    ready = prepare(experiment, ledger, cache=cache)
    folds = ready.protocol.folds
    for number, params in enumerate([*trials, trials[0]]):
        trial, stopped = experiment.trial(params), number == len(trials)
        regions = regions_of(trial.model)
        features = feature_set(ready.dataset, trial.features, cache=cache, regions=regions)
        done = 1 if stopped else len(folds.blocks)
        for index in range(done):
            ledger.write_block(number, index, run_block(features, folds, index, trial=trial))
        state = "STOPPED" if stopped else "COMPLETE"
        values = (0.5,) * done  # scores are read from the blocks, not from here
        ledger.write_trial(TrialRecord(number, state, params, {}, values=values))
    return Searched(ledger, experiment, ready.dataset, cache)


def write_maps(folder: Path, *, subjects: int = 4, clips: int = 4, channels: int = 2) -> Path:
    """A folder per clip with maps whose first channel tells the class; returns the manifest."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows: list[tuple[object, ...]] = [("dataset", "subject", "clip", "label", "path", "frame")]
    for subject in range(subjects):
        for clip in range(clips):
            for frame in range(3):
                values = rng.standard_normal((8, 8, channels)).astype(np.float32)
                values[..., 0] += 2 * (clip % 2)
                file = folder / f"s{subject}c{clip}" / f"{frame}.npy"
                file.parent.mkdir(exist_ok=True)
                np.save(file, values)
                label = ("calm", "moved")[clip % 2]
                path = file.relative_to(folder)
                rows.append(("toy", f"s{subject}", f"c{clip}", label, path, frame))
    manifest = folder / "maps.csv"
    with manifest.open("w", newline="") as written:
        csv.writer(written).writerows(rows)
    return manifest
