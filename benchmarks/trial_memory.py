"""Resident memory of one process that runs a trial over many cached frames.

    python benchmarks/trial_memory.py [--frames 69] [--clips 246] [--keep FOLDER]

Writes the cache of an invented data set of CASME II's size (246 clips, 17,000 frames, VGG-Face
pool5: 1.7 GB on disk, random values), then runs one block of folds of each trial below in a
process of its own and prints that process's peak. What the values are does not matter to memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mer_search.config import Trial
from mer_search.datasets import Clip, DataSet
from mer_search.features import plan
from mer_search.features.assemble import feature_set
from mer_search.features.cache import Cache

SUBJECTS, REGIONS, CHANNELS = 26, 49, 512
BACKBONE = {"name": "vgg-face", "layer": "pool5", "weights": "random"}
TRIALS: dict[str, dict[str, Any]] = {
    "uniform, 16 keyframes, no attention": {"method": "uniform", "attention": "none"},
    "uniform, 16 keyframes, spatial-temporal": {"method": "uniform"},
    "tim, 16 keyframes from all frames": {"method": "tim"},
}


def trial_of(attention: str = "spatial-temporal", **keyframes: Any) -> Trial:
    """One epoch of a middling model."""
    return Trial.model_validate(
        {
            "features": {
                "align": {"method": "none", "size": 224},
                "keyframes": {"count": 16, **keyframes},
                "backbone": BACKBONE,
            },
            "model": {"attention": attention, "lstm_size": 128},
            "train": {"epochs": 1},
        }
    )


def write(folder: Path, *, clips: int, frames: int) -> DataSet:
    """Clips of tiny files, and embeddings of all their frames in the cache."""
    rng, cache, made = np.random.default_rng(0), Cache(folder / "cache"), []
    backbone = trial_of(method="tim").features.backbone
    rows = rng.random((frames, REGIONS, CHANNELS), np.float32)
    for number in range(clips):
        paths = tuple(folder / "frames" / f"{number}_{frame}.png" for frame in range(frames))
        paths[0].parent.mkdir(exist_ok=True)
        for path in paths:
            path.write_bytes(path.name.encode())
        subject, label = f"s{number % SUBJECTS:02d}", ("a", "b", "c")[number % 3]
        clip = Clip("invented", subject, f"c{number}", label, 0, None, frames - 1, paths)
        key = plan.rows_key(clip, trial_of(method="tim").features.align, backbone, "random")
        cache.write(key, {"positions": np.arange(frames), "rows": rows})
        made.append(clip)
    return DataSet("invented", "1", ("a", "b", "c"), tuple(made))


def run(dataset: DataSet, folder: Path, settings: dict[str, Any], told: Any) -> None:
    """One block of folds, in a process of its own; sends what it took."""
    from mer_search.loso.folds import make_folds
    from mer_search.loso.run import regions_of, run_block

    trial, begun = trial_of(**settings), time.perf_counter()
    regions = regions_of(trial.model)
    features = feature_set(dataset, trial.features, cache=Cache(folder / "cache"), regions=regions)
    assembled = time.perf_counter() - begun
    run_block(features, make_folds(features.subject, features.label), 0, trial=trial)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    took = time.perf_counter() - begun - assembled
    told.put({"peak": peak, "features": features.x.nbytes, "assembled": assembled, "block": took})


def measure(dataset: DataSet, folder: Path, settings: dict[str, Any]) -> dict[str, float]:
    """`run` in a new process: its peak is its own."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=run, args=(dataset, folder, settings, told))
    process.start()
    found: dict[str, float] = told.get(timeout=600)
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=246)
    parser.add_argument("--frames", type=int, default=69, help="of each clip")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        dataset = write(folder, clips=chosen.clips, frames=chosen.frames)
        found = {name: measure(dataset, folder, settings) for name, settings in TRIALS.items()}
    if chosen.json:
        print(json.dumps(found))
        return
    print(f"{chosen.clips * chosen.frames} frames of VGG-Face pool5 in the cache")
    print(f"{'':42}{'peak GB':>8}{'features GB':>13}{'assembled s':>13}{'block s':>9}")
    for name, row in found.items():
        print(f"{name:42}{row['peak'] / 1e9:8.2f}{row['features'] / 1e9:13.2f}"
              f"{row['assembled']:13.1f}{row['block']:9.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
