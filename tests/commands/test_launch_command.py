"""How a launch ends, as its user is told: exit code, reason, and what to type next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mer_search import cli
from mer_search.commands import searches
from mer_search.search.driver import Outcome

LIMIT = "search.max_folds 8 is reached (8 folds trained); raise it to go on"
GOES_ON = "the same command continues, no finished fold is lost"


@pytest.mark.parametrize(
    ("ended", "started", "why", "code", "told"),
    [
        ("finished", 3, "", 0, ""),
        ("finished", 0, "", 0, "nothing to run: the search has its 3 trials; raise --trials"),
        ("stopped", 0, LIMIT, 0, f"{LIMIT}, no finished fold is lost"),
        ("stopped", 1, "", 130, f"stopped; {GOES_ON}"),
        ("interrupted", 0, "", 130, f"interrupted; {GOES_ON}"),
    ],
)
def test_the_end_is_told_with_how_to_go_on(
    ended: Any, started: int, why: str, code: int, told: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    space = {"data": {"reader": "casme2", "root": "nowhere"}, "search": {"trials": 3}}
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump({"name": "toy", **space}))
    prepared: Any = None
    outcome = Outcome(prepared, ended, started, 0, why)
    monkeypatch.setattr(searches, "run", lambda *_, **__: (outcome, ()))
    assert cli.run(["launch", str(file), "--store", "runs"]) == code
    *before, last = capsys.readouterr().out.splitlines()
    assert before == ([told] if told else [])
    assert last == "next: mer-search compare toy --store runs"
