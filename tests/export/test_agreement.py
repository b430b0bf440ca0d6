"""What was trained is what predicts: from the trainer to a folder of frames, by every way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_search import FACE_TRIALS, MAP_TRIALS, Searched, search_rivals

import mer_search
from mer_search.export import export_trial, load
from mer_search.export.chosen import clips_of, read_chosen
from mer_search.export.refit import refit
from mer_search.models.catalogue import HEADS

Exported = Callable[[Searched, int], Path]
MLFLOW = "ignore:.*Any type hint is inferred:UserWarning"
ELSEWHERE = """
import json, sys
import mlflow, pandas
rows = mlflow.pyfunc.load_model(sys.argv[1]).predict(pandas.DataFrame({"video": sys.argv[2:]}))
print(json.dumps(rows.to_dict("records")))
"""


def check_agreement(searched: Searched, folder: Path, number: int) -> None:
    """Trainer, exported model and MLflow model give every clip the same probabilities."""
    import mlflow.pyfunc

    chosen = read_chosen(searched.ledger, number)
    trained = refit(clips_of(chosen), chosen.trial, cache=searched.cache)
    assert trained.features.keys == tuple(clip.key for clip in searched.dataset.clips)
    assert np.ptp(trained.probs[:, 0]) > 0.1, "a model that says the same of all tests little"

    model = load(folder)
    found = [model.predict(clip) for clip in searched.clips]
    assert tuple(found[0].probabilities) == trained.features.classes
    probs = np.array([list(each.probabilities.values()) for each in found])
    np.testing.assert_allclose(probs, trained.probs, atol=1e-4)

    rows = mlflow.pyfunc.load_model(str(folder / "mlflow")).predict(
        pd.DataFrame({"video": [str(clip) for clip in searched.clips]})
    )
    served = np.array([list(each.values()) for each in rows["probabilities"]])
    np.testing.assert_allclose(served, trained.probs, atol=1e-4)
    assert rows["label"].tolist() == [each.label for each in found]
    assert rows["keyframes"].tolist() == [each.keyframes for each in found]


@pytest.mark.slow
@pytest.mark.filterwarnings(MLFLOW)
@pytest.mark.parametrize("number", range(len(FACE_TRIALS)))
def test_exported_probabilities_of_faces_are_the_trainers(
    faces: Searched, exported: Exported, number: int
) -> None:
    check_agreement(faces, exported(faces, number), number)


@pytest.mark.filterwarnings(MLFLOW)
@pytest.mark.parametrize("number", range(len(MAP_TRIALS)))
@pytest.mark.slow
def test_exported_probabilities_of_maps_are_the_trainers(
    maps: Searched, exported: Exported, number: int
) -> None:
    check_agreement(maps, exported(maps, number), number)


@pytest.mark.slow
@pytest.mark.filterwarnings(MLFLOW)
def test_exported_probabilities_of_every_rival_are_the_trainers(tmp_path: Path) -> None:
    searched, other_runtimes = search_rivals(tmp_path), {"gru", "ststnet", "lbp-top-svm"}
    for number, name in enumerate(sorted(HEADS)):
        folder, portable = tmp_path / name, name in other_runtimes
        export_trial(searched.ledger, number, folder, cache=searched.cache, portable=portable)
        if name != "majority":
            check_agreement(searched, folder, number)
        told = json.loads((folder / "settings.json").read_text())["portable"]
        assert bool(told.get("files")) == portable


@pytest.mark.slow
def test_a_fresh_process_elsewhere_predicts_with_mlflow_alone(
    faces: Searched, exported: Exported, tmp_path: Path
) -> None:
    folder, clip = exported(faces, 0), faces.clips[0]
    source = str(Path(mer_search.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(folder / "mlflow"), str(clip)],
        cwd=tmp_path, check=False, capture_output=True, text=True, timeout=250,
        env={**os.environ, "PYTHONPATH": source, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,), here = json.loads(done.stdout), load(folder).predict(clip).as_json()
    for name in ("probabilities", "temporal_attention"):
        assert row.pop(name) == pytest.approx(here.pop(name), abs=1e-4)
    assert row == here
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_attention_is_given_where_the_model_has_it(faces: Searched, exported: Exported) -> None:
    both, temporal, none = (load(exported(faces, n)).predict(faces.clips[0]) for n in range(3))
    assert both.spatial_attention is not None
    assert both.spatial_attention.shape == (4, 9)
    np.testing.assert_allclose(both.spatial_attention.sum(1), 1.0, atol=1e-5)
    assert sum(both.temporal_attention) == pytest.approx(1.0, abs=1e-5)
    assert temporal.spatial_attention is None
    assert len(temporal.temporal_attention) == len(temporal.keyframes) == 4
    assert none.temporal_attention == []
    assert both.faces.shape == (4, 160, 160, 3)
