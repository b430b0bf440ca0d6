"""`mer_search.launch`: the same search as that of the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CELLS = """
import sys
import mer_search

space, store = sys.argv[1:]
table = mer_search.launch(
    space, name="noted", trials=2, store=store, tracking="none", settings={"train.epochs": 2}
)
assert table["state"].tolist() == ["COMPLETE", "COMPLETE"], table
assert table.equals(mer_search.results("noted", store=store))
"""


@pytest.mark.ray
def test_a_search_from_a_notebook(
    tiny_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "cache"))
    # In a process of its own, as a notebook's kernel is: Ray reads its settings once.
    line = [sys.executable, "-c", CELLS, str(tiny_space), str(tmp_path / "runs")]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=240, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
