"""`mer_search.launch`: the same search as that of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import mer_search


@pytest.mark.ray
def test_a_search_from_a_notebook(tiny_space: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "runs")
    table = mer_search.launch(
        str(tiny_space), name="noted", trials=2, store=store, tracking="none",
        settings={"train.epochs": 2},
    )  # fmt: skip
    assert table["state"].tolist() == ["COMPLETE", "COMPLETE"]
    assert table.equals(mer_search.results("noted", store=store))
