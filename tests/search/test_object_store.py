"""A store on a real S3 server: read, checked and stopped from anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from s3_server import s3

from mer_search.loso.ledger import Ledger
from mer_search.search.preflight import FOLDER, _visible, examine

pytestmark = pytest.mark.slow


def test_searches_on_object_storage_are_read_checked_and_stopped_from_anywhere(
    invented_search: Callable[..., Ledger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3("lab") as access:
        for name, value in access.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "cache"))
        ledger = invented_search(store="s3://lab/runs")
        command = [sys.executable, "-m", "mer_search"]
        places = {"env": dict(os.environ), "cwd": tmp_path, "text": True, "timeout": 120}
        asked = [*command, "status", ledger.name, "--store", "s3://lab/runs", "--json"]
        told = subprocess.run(asked, capture_output=True, check=True, **places)  # type: ignore[call-overload]
        assert json.loads(told.stdout)["states"]["COMPLETE"] == 3
        stop = [*command, "stop", ledger.name, "--store", "s3://lab/runs"]
        subprocess.run(stop, capture_output=True, check=True, **places)  # type: ignore[call-overload]
        assert ledger.stop_asked()

        assert "is another one than the driver's" in examine("s3://lab/runs", "m", "n").store
        with _visible("s3://lab/runs", "m"):
            assert examine("s3://lab/runs", "m", "n").store == ""
        fs = fsspec.filesystem("s3")
        fs.invalidate_cache()
        assert not fs.exists(f"lab/runs/{FOLDER}")
    told = examine("s3://lab/runs", "m", "n").store
    assert "s3://lab/runs cannot be read and written (" in told
