"""Options that several commands share, and how they print."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

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


def console(*, error: bool = False) -> Console:
    """Plain text unless it is a terminal."""
    found = Console(stderr=error, highlight=False, soft_wrap=True)
    if not found.is_terminal:
        found.width = WIDE
    return found


def print_json(content: Any) -> None:
    """Strict JSON on stdout."""
    typer.echo(json.dumps(content, indent=1, allow_nan=False))
