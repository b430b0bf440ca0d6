"""The exported model in MLflow's forms: a pyfunc folder, and a version in its registry."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

import mer_search
from mer_search.export import served
from mer_search.export.model import SETTINGS, WEIGHTS
from mer_search.loso.ledger import Ledger
from mer_search.tracking.mirror import EXPERIMENT
from mer_search.tracking.place import artifacts_of, uri_of


def save_pyfunc(package: Path, path: Path) -> None:
    """Writes the MLflow model of a package into the new folder `path`."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        mlflow.pyfunc.save_model(path=str(path), **_pyfunc(package, Path(folder)))


def register_model(package: Path, name: str, ledger: Ledger, tracking: str | None) -> str:
    """Registers a package as `MODEL@ALIAS`; returns `MODEL version N`."""
    model, _, alias = name.partition("@")
    uri = uri_of(ledger, tracking)
    client = MlflowClient(uri)
    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = (
        known.experiment_id
        if known
        else client.create_experiment(EXPERIMENT, artifacts_of(ledger, uri))
    )
    mlflow.set_tracking_uri(uri)
    tags = {"mer.search": ledger.name, "mer.store": ledger.store, "mer.kind": "export",
            "mer.trial": f"export {model}"}  # fmt: skip
    with (
        tempfile.TemporaryDirectory() as folder,
        _quiet(),
        mlflow.start_run(experiment_id=experiment, run_name=f"export {model}", tags=tags),
    ):
        logged = mlflow.pyfunc.log_model(
            name="model", registered_model_name=model, **_pyfunc(package, Path(folder))
        )
    version = str(logged.registered_model_version)
    client.set_registered_model_alias(model, alias, version)
    return f"{model} version {version}, alias {alias}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars over two small files, and the wish for an example video."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        yield


def _pyfunc(package: Path, folder: Path) -> dict[str, Any]:
    """What MLflow has to be told; the requirements are given, so that it does not guess them."""
    copied = folder / "package"
    copied.mkdir()
    for name in (SETTINGS, WEIGHTS):
        shutil.copy(package / name, copied / name)
    signature = ModelSignature(
        inputs=Schema([ColSpec("string", "video")]), outputs=Schema([ColSpec("string", "label")])
    )
    return {
        "python_model": str(served.__file__),
        "artifacts": {"package": str(copied)},
        "signature": signature,
        "pip_requirements": [f"mer-search=={mer_search.__version__}"],
    }
