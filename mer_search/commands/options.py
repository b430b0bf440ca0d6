"""Options that several commands share, and how they print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from mer_search.experiment import Experiment

Space = Annotated[str, typer.Argument(help="A search-space file, or a shipped name.")]
Named = Annotated[str | None, typer.Option("--name", help="Instead of the file's name.")]
Trials = Annotated[int | None, typer.Option(help="How many in all, earlier ones counted.")]
WarmStart = Annotated[
    str | None, typer.Option(help="An earlier search whose trials guide the sampler.")
]
Store = Annotated[
    str,
    typer.Option(help="Where searches are kept: a folder or any fsspec address.",
                 envvar="MER_SEARCH_STORE"),
]  # fmt: skip
Tracking = Annotated[
    str | None,
    typer.Option(help="MLflow's address; by default a SQLite file in the store. 'none': no MLflow.",
                 envvar="MLFLOW_TRACKING_URI"),
]  # fmt: skip
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Changes one setting, for example --set train.epochs=20."),
]
Device = Annotated[str, typer.Option(help="Torch device for face networks: cpu, cuda, cuda:1, ...")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
STORE = "./mer-runs"
WIDE = 200
"""Columns of what is no terminal: a file or a pipe wraps nothing."""


def asked(
    space: str, name: str | None, trials: int | None, settings: list[str] | None
) -> Experiment:
    """The experiment of the file with what the command line changes in it."""
    from mer_search import space_file

    changes = [*(settings or ())]
    changes += [f"name={name}"] if name else []
    changes += [f"search.trials={trials}"] if trials is not None else []
    return space_file.read(space, changes)


def console(*, error: bool = False) -> Console:
    """Plain text unless it is a terminal."""
    found = Console(stderr=error, highlight=False, soft_wrap=True)
    if not found.is_terminal:
        found.width = WIDE
    return found


def print_json(content: Any) -> None:
    """Strict JSON on stdout."""
    typer.echo(json.dumps(content, indent=1, allow_nan=False))
