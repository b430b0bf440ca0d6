"""The leaderboard on a real Ray: it runs what is missing, and nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.ray


def test_rivals_run_once_and_a_second_call_only_reads(
    tiny_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "cache"))
    maps, folder = yaml.safe_load(tiny_space.read_text())["data"]["root"], tmp_path / "rivals"
    folder.mkdir()
    for name, grid in (("mean-pool", 2), ("majority", 2), ("ststnet", 8)):
        space = {
            "name": f"tiny-{name}",
            "data": {"reader": "manifest", "root": maps},
            "features": {"align": {"method": "none"},
                         "backbone": {"name": "patches", "grid": grid}},
            "model": {"name": name},
            "train": {"epochs": 2, "batch_size": 8},
            "search": {"trials": 1},
        }  # fmt: skip
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(space))

    def leaderboard() -> dict[str, Any]:
        command = [sys.executable, "-m", "mer_search", "leaderboard", str(folder), "--json"]
        given = ["--store", str(tmp_path / "store"), "--tracking", "none"]
        done = subprocess.run([*command, *given], capture_output=True, text=True, timeout=280,
                              cwd=tmp_path, env=dict(os.environ), check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first = leaderboard()
    written = {f: f.stat().st_mtime_ns for f in (tmp_path / "store").rglob("*.npz")}
    assert {row["model"] for row in first["rivals"]} == {"mean-pool", "majority", "ststnet"}
    assert all(row["trials"] == row["finished"] == 1 for row in first["rivals"])
    assert len(first["pairs"]) == 3
    assert leaderboard() == first
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "store").rglob("*.npz")} == written
