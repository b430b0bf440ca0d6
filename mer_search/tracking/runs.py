"""The runs of one search as MLflow has them, by trial."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Run, RunData, RunTag

PARENT = ""
"""The value of the tag `mer.trial` of the run that stands for the search."""


def find(client: MlflowClient, experiment: str, wanted: str) -> dict[str, Run]:
    """Slim runs by trial; a run that appears twice is reduced to its first.

    Args:
        wanted: MLflow's filter for all runs of the search.
    """
    found: dict[str, Run] = {}
    token = None
    while True:
        page = client.search_runs(
            [experiment], wanted, order_by=["attributes.start_time"], page_token=token
        )
        for run in page:
            if (trial := run.data.tags["mer.trial"]) in found:
                client.delete_run(run.info.run_id)
            else:
                found[trial] = slim(run)
        token = page.token
        if not token:
            return found


def slim(run: Run) -> Run:
    """A trial's run with no more than what its next writing asks: a search has ten thousand."""
    if run.data.tags["mer.trial"] == PARENT:
        return run
    shown = [RunTag(key, value) for key, value in run.data.tags.items() if key == "mer.shown"]
    return Run(run.info, RunData(tags=shown))
