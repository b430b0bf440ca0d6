"""Which MLflow a search is shown in. Not for writing runs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

from mer_search.errors import InputError, MerSearchError
from mer_search.loso.ledger import Ledger

EXPERIMENT = "mer-search"
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")


class TrackingAway(MerSearchError):
    """MLflow does not answer; the ledger is whole, `mer-search track` repairs MLflow later."""


def uri_of(ledger: Ledger, tracking: str | None) -> str:
    """The address asked for, or a SQLite file in the store.

    Raises:
        InputError: no address for a store that is not local, or an address MLflow cannot use.
    """
    if tracking:
        scheme = urlparse(tracking).scheme.partition("+")[0]
        if scheme not in SCHEMES:
            raise InputError(
                "--tracking",
                f"{tracking!r} is no address of MLflow; write http://HOST:PORT, "
                "sqlite:////path/mlflow.db, or none",
            )
        return tracking
    if ledger.local is None:
        raise InputError(
            "--tracking",
            f"the store {ledger.store} is not on this machine, where MLflow would keep its SQLite "
            "file; give --tracking http://HOST:PORT or --tracking none",
        )
    return f"sqlite:///{ledger.local.parent / 'mlflow.db'}"


def artifacts_of(ledger: Ledger, uri: str) -> str | None:
    """Where MLflow shall keep files: beside our own SQLite file; None leaves it to a server."""
    own = uri.startswith("sqlite:") and ledger.local is not None
    return (ledger.local.parent / "mlflow-artifacts").as_uri() if own and ledger.local else None


def page_command(uri: str) -> str:
    """What to type to see the runs."""
    return f"mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else f"open {uri}"


def run_page(ledger: Ledger, tracking: str | None) -> str | None:
    """The address of the page of the search's run, or what to type to get there.

    None where MLflow does not answer or does not know the search: a link is no reason to fail.
    """
    import mlflow.exceptions
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    uri = uri_of(ledger, tracking)
    database = uri.removeprefix("sqlite:///")
    if database != uri and not Path(database).exists():
        return None  # asking would create it
    try:
        client = mlflow.MlflowClient(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        quoted = {"mer.search": ledger.name, "mer.store": ledger.store.replace("'", "")}
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in quoted.items())
        runs = experiment and client.search_runs(
            [experiment.experiment_id], f"{wanted} and tags.`mer.kind` = 'search'", max_results=1
        )
    except (mlflow.exceptions.MlflowException, RequestException, SQLAlchemyError):
        return None
    if not experiment or not runs:
        return None
    page = f"/#/experiments/{experiment.experiment_id}/runs/{runs[0].info.run_id}"
    if uri.startswith("http"):
        return f"{uri.rstrip('/')}{page}"
    return f"http://127.0.0.1:5000{page} after `{page_command(uri)}`"
