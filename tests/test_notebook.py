"""The package from Python: nothing heavy at import, tables of what the ledger holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import mer_search
from mer_search.errors import InputError
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results

Search = Callable[..., Ledger]
HEAVY = ("torch", "ray", "mlflow", "optuna", "pandas", "numpy", "fsspec", "pydantic")


def test_importing_the_package_imports_nothing_heavy() -> None:
    source = f"import sys, mer_search; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", source], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_reading_results_needs_no_torch_ray_or_mlflow() -> None:
    source = (
        "import sys, mer_search; mer_search.results; "
        f"print([m for m in {HEAVY[:4]} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_what_the_package_offers() -> None:
    assert {"launch", "results", "predictions", "load_model"} <= set(dir(mer_search))
    with pytest.raises(AttributeError, match="no attribute 'lunch'"):
        mer_search.lunch  # noqa: B018


def test_results_are_the_trials(invented_search: Search) -> None:
    ledger = invented_search()
    table = mer_search.results("invented", store=ledger.store)
    stored = read_results(ledger)
    assert table.index.tolist() == [each.record.number for each in stored]
    assert table["state"].tolist() == [each.record.state for each in stored]
    assert table["folds_done"].tolist() == [each.folds_done for each in stored]
    assert table["model.attention"][3] == "temporal"
    for each in stored:
        shown = table["uf1"][each.record.number]
        assert shown == each.scores["uf1"] if each.complete else np.isnan(shown)


def test_predictions_are_those_of_the_trial(
    invented_search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = invented_search()
    monkeypatch.setenv("MER_SEARCH_STORE", ledger.store)
    result = read_results(ledger)[3]
    table = mer_search.predictions("invented", 3)
    classes = list(result.protocol.classes)
    np.testing.assert_array_equal(table[classes].to_numpy(), result.probs)
    assert (table["truth"] == table["prediction"]).mean() == pytest.approx(
        result.scores["accuracy"]
    )
    assert len(mer_search.predictions("invented")) == len(result.protocol.keys)


def test_what_is_not_there_is_told(invented_search: Search, tmp_path: Path) -> None:
    ledger = invented_search()
    with pytest.raises(InputError, match="holds no search 'invent'; did you mean 'invented'"):
        mer_search.results("invent", store=ledger.store)
    with pytest.raises(InputError, match="the store is empty; launch a search first"):
        mer_search.results("invented", store=str(tmp_path / "none"))
    with pytest.raises(InputError, match="'first' must be a trial's number or 'best'"):
        mer_search.predictions("invented", "first", store=ledger.store)
    with pytest.raises(InputError, match="is no folder; give the one that `mer-search export`"):
        mer_search.load_model(tmp_path / "none")


def test_ray_imported_first_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(InputError, match="launch before importing ray, or set RAY_AUTH_MODE=token"):
        mer_search.launch("quickstart", store=str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()
