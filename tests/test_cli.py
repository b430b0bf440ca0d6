"""The command line as its users meet it: help with an example, one message, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from mer_search import cli

GROUP = typer.main.get_command(cli.app)


def commands(group: Any, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Words -> help of every command, those below `data` and `weights` too."""
    below = getattr(group, "commands", None)
    if below is None:
        return {words: str(group.help)}
    found: dict[tuple[str, ...], str] = {}
    for name, each in below.items():
        found |= commands(each, (*words, name))
    return found


HELP = commands(GROUP)


def test_the_contract_of_commands_is_kept() -> None:
    names = {" ".join(words) for words in HELP}
    assert names >= {
        "quickstart", "data check", "data synth", "weights list", "weights import",
        "weights fetch", "extract", "clean", "launch", "list", "status", "stop", "track", "study",
        "compare", "export", "predict", "evaluate", "score", "export-log", "leaderboard",
    }  # fmt: skip


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    assert f"Example: mer-search {' '.join(words)}" in HELP[words]


def test_help_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'ray', 'mlflow', 'optuna', 'pandas', 'matplotlib', 'scipy'}"
    code = (
        "import sys; from mer_search.cli import run; run(['--help']); "
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "quickstart" in done.stdout


def test_a_fault_of_the_user_is_one_message_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["status", "nothing", "--store", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        f"mer-search: {tmp_path}: holds no search 'nothing'; the store is empty; "
        "launch a search first\n"
    )


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--debug", "status", "nothing", "--store", str(tmp_path)]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_unknown_option_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["launch", "quickstart", "--trails", "3"]) == 2
    assert capsys.readouterr().err == (
        "mer-search: No such option: --trails (Possible options: --tracking, --trials) "
        "(--help tells)\n"
    )


def test_a_space_file_with_faults_names_them_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("name: odd\ndata: {reader: casme2, root: here}\nmodel: {lstm_sise: 3}\n")
    store = str(tmp_path / "store")
    assert cli.run(["launch", str(file), "--set", "train.epochs=none", "--store", store]) == 2
    told = capsys.readouterr().err
    assert "2 faults" in told
    assert "did you mean 'lstm_size'?" in told
    assert "train.epochs" in told
    assert not (tmp_path / "store").exists()


def test_json_is_one_document_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list", "--json", "--store", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0"
