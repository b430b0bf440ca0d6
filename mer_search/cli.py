"""The command line: assembles the commands and maps errors to messages and exit codes.

0 done; 1 failed; 2 the user's input is at fault; 130 interrupted or stopped.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from mer_search import __version__
from mer_search.commands import clusters, data, leaderboard, results, searches
from mer_search.errors import MerSearchError
from mer_search.quickstart import quickstart

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Hyperparameter search for facial micro-expression recognition, with numbers that can "
    "be believed. Start with: mer-search quickstart",
)
app.command()(quickstart)
app.add_typer(data.data, name="data")
app.add_typer(data.weights, name="weights")
COMMANDS: dict[str, Callable[..., None]] = {
    "extract": data.extract,
    "clean": data.clean,
    "launch": searches.launch,
    "submit": clusters.submit,
    "list": searches.list_,
    "status": searches.status,
    "stop": searches.stop,
    "track": searches.track,
    "study": searches.study,
    "compare": results.compare,
    "export": results.export,
    "predict": results.predict,
    "evaluate": results.evaluate,
    "score": results.score,
    "export-log": results.export_log,
    "leaderboard": leaderboard.leaderboard,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Tracebacks of the user's errors.")
    ] = False,
) -> None:
    """Options before the command."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """The entry point `mer-search`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One command line; returns its exit code. Faults are told on stderr."""
    try:
        code = app(arguments, prog_name="mer-search", standalone_mode=False)
        return int(code or 0)
    except MerSearchError as fault:
        if "--debug" in arguments:
            traceback.print_exc()
        typer.echo(f"mer-search: {fault}", err=True)
        return fault.exit_code
    except typer.TyperException as fault:
        text = fault.format_message()  # of a group without a command: its help
        told = text if text.lstrip().startswith("Usage") else f"mer-search: {text} (--help tells)"
        typer.echo(told, err=True)
        return fault.exit_code
    except (KeyboardInterrupt, typer.Abort):
        typer.echo(
            "mer-search: interrupted; nothing finished is lost, the same line goes on", err=True
        )
        return 130
