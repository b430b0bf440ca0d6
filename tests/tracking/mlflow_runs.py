"""What MLflow shows of the one search in it."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Run


def runs_of(uri: str) -> dict[str, Run]:
    """Its runs by trial, the search's own under "" (asserts that none is there twice)."""
    client = MlflowClient(uri)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    found = {run.data.tags["mer.trial"]: run for run in runs}
    assert len(found) == len(runs), "no run appears twice"
    return found
