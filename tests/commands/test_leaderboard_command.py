"""`leaderboard` as its users meet it: files are checked together, then run, then compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from mer_search import cli
from mer_search.commands import searches
from mer_search.commands.leaderboard import read_rivals
from mer_search.errors import InputError
from mer_search.loso.ledger import Ledger
from mer_search.search.driver import Outcome

BASE: dict[str, Any] = {
    "data": {"reader": "casme2", "root": "nowhere"},
    "search": {"trials": 3},
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def files(**spaces: dict[str, Any]) -> str:
        for name, space in spaces.items():
            tree = {"name": name, **BASE, **space}
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(tree))
        return str(tmp_path)

    return files


@pytest.mark.parametrize(
    ("folder", "count", "own"),
    [("leaderboard", 10, {"gru", "mean-pool", "transformer"}),
     ("leaderboard_casme2", 9, {"elrcn", "lbp-top-svm"})],
)  # fmt: skip
def test_the_shipped_rivals_share_one_protocol(
    folder: str, count: int, own: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("MEGC2019_FLOW", "CASME2_ROOT"):
        monkeypatch.setenv(place, "somewhere")
    rivals = read_rivals(folder, 5, ())
    assert len(rivals) == count
    assert {rival.search.trials for rival in rivals} == {5}
    names = {rival.fixed["model.name"] for rival in rivals}
    both = {"attention-lstm", "lstm", "ststnet", "off-apexnet", "cnn-3d", "bi-woof-svm", "majority"}
    assert names == both | own
    assert len({rival.data for rival in rivals}) == 1


def test_all_that_keeps_files_from_being_rivals_is_told_at_once(write: Callable[..., str]) -> None:
    folder = write(
        a={}, b={"search": {"trials": 4}, "evaluation": {"objective": "uar"}},
        c={"name": "a", "data": {"reader": "casme2", "root": "elsewhere"}},
        d={"model": {"name": "lstn"}},
    )  # fmt: skip
    with pytest.raises(InputError) as told:
        read_rivals(folder, None, ())
    text = str(told.value)
    for part in (
        "d.yaml: model.name: 'lstn' is not known; did you mean 'lstm'?",
        "a and b differ in evaluation (objective 'uf1' and 'uar')",
        "a and b have 3 and 4 trials; budgets must be equal, so give --trials",
        "differ in data (root 'nowhere' and 'elsewhere'); one protocol for all, or use --set",
        "name 'a' is that of 2 files; give each its own",
    ):
        assert part in text
    changed = ("evaluation.objective=uf1", "data.root=nowhere", "model.name=lstm")
    with pytest.raises(InputError, match="name 'a' is that of 2 files") as one:
        read_rivals(folder, 2, changed)
    assert len(one.value.faults) == 1


def test_a_folder_without_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no search-space file \(\*.yaml\); give a folder"):
        read_rivals(str(tmp_path), None, ())


@pytest.mark.slow
def test_the_command_runs_all_and_prints_one_table(
    write: Callable[..., str], invented_search: Callable[..., Ledger], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder, ran = write(a={}, b={}), []

    def run(experiment: Any, out: Any, **options: Any) -> tuple[Any, tuple[()]]:
        ran.append((experiment.name, experiment.search.trials))
        invented_search(experiment.name)
        return SimpleNamespace(cut_short=False), ()

    monkeypatch.setattr(searches, "run", run)
    store, page = str(tmp_path / "store"), tmp_path / "page.html"
    given = ["leaderboard", folder, "--trials", "2", "--store", store]
    assert cli.run([*given, "--json", "--html", str(page)]) == 0
    assert ran == [("a", 2), ("b", 2)]
    document = json.loads(capsys.readouterr().out)
    assert {row["search"] for row in document["rivals"]} == {"a", "b"}
    assert "<html" in page.read_text()


@pytest.mark.parametrize("ended", ["interrupted", "stopped"])
def test_a_rival_that_is_cut_short_ends_the_command(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], ended: Any,
) -> None:  # fmt: skip
    prepared: Any = None
    outcome = Outcome(prepared, ended, 1, 0)
    monkeypatch.setattr(searches, "run", lambda *_, **__: (outcome, ()))
    assert cli.run(["leaderboard", write(a={}, b={})]) == 130
    assert f"{ended}; the same command continues" in capsys.readouterr().out
