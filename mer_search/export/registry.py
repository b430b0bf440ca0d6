"""An exported model in MLflow's forms: a pyfunc folder, and a version in a model registry.

Through the client alone: no global address, no active run, and nothing looked up on an index.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

import mer_search
from mer_search.errors import InputError
from mer_search.export.reading import SETTINGS, WEIGHTS, read_settings
from mer_search.loso.ledger import Ledger
from mer_search.loso.metrics import OBJECTIVES
from mer_search.tracking.apart import PATIENCE
from mer_search.tracking.place import EXPERIMENT, answering, artifacts_of, client_of, uri_of

QUIET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A server's runs are announced on stdout, where `export --json` prints one document.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
SERVED = Path(__file__).with_name("served.py")


@dataclass(frozen=True)
class Shelf:
    """A place in a model registry: the version that `alias` of `model` will name at `uri`."""

    model: str
    alias: str
    uri: str
    artifacts: str | None


def shelf_of(register: str, ledger: Ledger, tracking: str | None) -> Shelf:
    """Where `MODEL@ALIAS` stands in the registry of `tracking`, which answers.

    Raises:
        InputError: names that MLflow does not take, or no address of MLflow.
        TrackingAway: MLflow does not answer.
    """
    model, _, alias = register.partition("@")
    if not re.fullmatch(r"\w[\w.-]*", model) or not re.fullmatch(r"[\w-]+", alias):
        raise InputError(
            "--register",
            f"{register!r} must be MODEL@ALIAS, such as mer@best: letters, digits, '_' and '-', "
            "in MODEL also '.'",
        )
    if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise InputError("--register", f"MLflow keeps the alias {alias!r} for itself; take another")
    uri = uri_of(ledger, tracking)
    with _answers(uri, "start it, or export without --register"):
        client_of(uri).search_registered_models(max_results=1)
    return Shelf(model, alias, uri, artifacts_of(ledger, uri))


def save_pyfunc(package: Path, out: Path) -> None:
    """Writes the MLflow model of a package into the new folder `out`."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, DataType, Schema
        from mlflow.types.schema import Array, Map

        copied = Path(folder) / "package"
        copied.mkdir()
        for name in (SETTINGS, WEIGHTS):
            shutil.copy(package / name, copied / name)
        path = ColSpec(DataType.string, "video", required=False)
        content = ColSpec(DataType.binary, "content", required=False)
        answer = Schema([ColSpec(DataType.string, "label"),
                         ColSpec(Map(DataType.double), "probabilities"),
                         ColSpec(Array(DataType.long), "keyframes"),
                         ColSpec(Array(DataType.double), "temporal_attention"),
                         ColSpec(Array(DataType.string), "notes")])  # fmt: skip
        mlflow.pyfunc.save_model(
            path=str(out),
            python_model=str(SERVED),
            artifacts={"package": str(copied)},
            signature=ModelSignature(Schema([path, content]), answer),
            pip_requirements=[f"mer-search=={mer_search.__version__}"],  # given, so not guessed
        )


def registered(package: Path, shelf: Shelf) -> dict[str, str]:
    """The new version of a registered package, and the address that loads it."""
    version = register_model(package, shelf)
    return {"version": version, "registered": f"models:/{shelf.model}@{shelf.alias}"}


def register_model(package: Path, shelf: Shelf) -> str:
    """Logs a package's pyfunc as a run and registers it; returns the version.

    Raises:
        TrackingAway: MLflow does not answer.
    """
    settings = read_settings(package)
    cure = f"the model is written in {package}; delete it and export again once MLflow is back"
    with _answers(shelf.uri, cure):
        client = MlflowClient(shelf.uri)
        # Without `mer.store`, so that the mirror, which deletes runs that are there twice, does
        # not take two exports of one trial for one.
        tags = {"mer.kind": "export", "mer.search": settings["search"],
                "mer.trial": str(settings["number"])}  # fmt: skip
        run = client.create_run(
            _experiment(client, shelf), tags=tags, run_name=f"export {shelf.model}"
        )
        _log_scores(client, run.info.run_id, settings)
        client.log_artifacts(run.info.run_id, str(package / "mlflow"), "model")
        client.log_artifact(run.info.run_id, str(package / "card.md"))
        client.set_terminated(run.info.run_id)
        if not client.search_registered_models(f"name = '{shelf.model}'"):
            client.create_registered_model(shelf.model)
        version = client.create_model_version(
            shelf.model, f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags,
            description=(package / "card.md").read_text(), await_creation_for=0,
        )  # fmt: skip
        client.set_registered_model_alias(shelf.model, shelf.alias, version.version)
    return str(version.version)


def _experiment(client: MlflowClient, shelf: Shelf) -> str:
    known = client.get_experiment_by_name(EXPERIMENT)
    return known.experiment_id if known else client.create_experiment(EXPERIMENT, shelf.artifacts)


def _log_scores(client: MlflowClient, run: str, settings: dict[str, Any]) -> None:
    """Every kind of scores, named as in the runs of a search, and the trial's parameters."""
    scores = settings["scores"]
    metrics = [
        Metric(f"{kind}.{name}", scores[kind][name], 0, 0)
        for kind in ("selected", "corrected", "nested")
        if scores.get(kind)
        for name in OBJECTIVES
    ]
    params = [Param(path, str(value)) for path, value in settings["params"].items()]
    client.log_batch(run, metrics, params)


@contextmanager
def _answers(uri: str, cure: str) -> Iterator[None]:
    """One message where MLflow is away, after few retries."""
    with _variables({**PATIENCE, **QUIET}), answering(uri, cure):
        yield


@contextmanager
def _variables(wanted: Mapping[str, str]) -> Iterator[None]:
    """MLflow's settings of this call; those that the user has set stay."""
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's remarks about its own type hints, and its wish for an example video."""
    with warnings.catch_warnings(), _variables(QUIET):
        for remark in ("Any type hint is inferred", "An input example was not provided"):
            warnings.filterwarnings("ignore", message=f".*{remark}", category=UserWarning)
        yield
