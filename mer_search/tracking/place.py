"""Which MLflow a search is shown in. Not for writing runs."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from mer_search.config import digest_of
from mer_search.errors import InputError, MerSearchError
from mer_search.loso.ledger import Ledger

if TYPE_CHECKING:
    from mlflow import MlflowClient

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


def lay_out(uri: str) -> None:
    """Makes MLflow's SQLite file if there is none, whole or not at all.

    MLflow lays a database out in some fifty steps; a file that is left between two of them is one
    that no MLflow opens again. So the steps are taken in a folder of their own, and the finished
    file then gets its name at once; that of a faster process stays.
    """
    if not uri.startswith("sqlite:"):
        return
    from sqlalchemy import make_url

    url = make_url(uri)
    if url.database in (None, "", ":memory:") or (file := Path(str(url.database))).exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=file.parent) as scratch:
        made = Path(scratch, file.name)
        artifacts = (file.parent.absolute() / "mlflow-artifacts").as_uri()
        store = SqlAlchemyStore(str(url.set(database=str(made))), artifacts)  # type: ignore[no-untyped-call]
        store.engine.dispose()
        try:
            os.link(made, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            made.rename(file)


def quiet() -> None:
    """What MLflow shall not say, unless its variables are set otherwise."""
    # A server's client prints the address of every run that ends, 1,000 times for 1,000 trials.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it reports each call home
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # "creating tables"


def client_of(uri: str) -> MlflowClient:
    """A quiet client; a SQLite file that is missing is made."""
    from mlflow import MlflowClient

    quiet()
    lay_out(uri)
    return MlflowClient(uri)


@contextmanager
def answering(uri: str, cure: str = "start it and run the command again") -> Iterator[None]:
    """MLflow's errors in one message. Raises TrackingAway."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError) as fault:
        told = str(fault).strip().splitlines()[0]
        raise TrackingAway(f"{uri}: MLflow does not answer ({told}); {cure}") from fault


def page_command(uri: str) -> str:
    """What to type to see the runs."""
    return f"mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else f"open {uri}"


def quoted_tags(ledger: Ledger) -> dict[str, str]:
    """What all runs of a search share; two stores may hold searches of one name."""
    return {"mer.search": ledger.name, "mer.store": ledger.store.replace("'", "")}


def runs_of(ledger: Ledger) -> str:
    """MLflow's filter for all runs of a search."""
    wanted = quoted_tags(ledger).items()
    return " and ".join(f"tags.`{key}` = '{value.replace(chr(39), '')}'" for key, value in wanted)


def view_of(ledger: Ledger) -> str:
    """The name of the table of a search's trials among the shared views of the experiment."""
    return f"{ledger.name}-{digest_of(ledger.store)[:6]}"


def links(ledger: Ledger, tracking: str | None) -> dict[str, str]:
    """Addresses of the search's run and of the table of its trials, or how to get there.

    Empty where MLflow does not answer or does not know the search: a link is no reason to fail.
    """
    import mlflow.exceptions
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    uri = uri_of(ledger, tracking)
    database = uri.removeprefix("sqlite:///")
    if database != uri and not Path(database).exists():
        return {}  # asking would create it
    try:
        client = mlflow.MlflowClient(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        wanted = f"{runs_of(ledger)} and tags.`mer.kind` = 'search'"
        runs = experiment and client.search_runs([experiment.experiment_id], wanted, max_results=1)
    except (mlflow.exceptions.MlflowException, RequestException, SQLAlchemyError):
        return {}
    if not experiment or not runs:
        return {}
    served = uri.startswith("http")
    pages = f"{uri.rstrip('/') if served else 'http://127.0.0.1:5000'}/#/experiments"
    runs_page, after = f"{pages}/{experiment.experiment_id}/runs", ""
    if not served:
        after = f" after `{page_command(uri)}`"
    return {
        "in MLflow": f"{runs_page}/{runs[0].info.run_id}{after}",
        "trials in MLflow": f"{runs_page}?viewStateShareKey={view_of(ledger)}{after}",
    }
