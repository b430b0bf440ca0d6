"""The feature cache as its user cleans it: what searches need stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mer_search import cli, space_file
from mer_search.features.cache import Cache
from mer_search.loso.ledger import Ledger
from mer_search.search.prepare import extract, prepare


def entries(cache: Cache) -> int:
    return len(list(cache.root.glob("??/*.safetensors")))


def test_clean_keeps_what_searches_need(
    tiny_space: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "home"))
    store, cache = str(tmp_path / "store"), Cache.default()
    prepare(space_file.read(tiny_space), Ledger(store, "tiny"), cache=cache)
    extract(space_file.read(tiny_space, ["features.backbone.grid=4"]), cache=cache)
    assert entries(cache) == 48
    assert cli.run(["clean", "--store", store]) == 0
    assert "24 entries removed" in capsys.readouterr().out
    assert entries(cache) == 24
    shutil.rmtree(tmp_path / "maps")
    assert cli.run(["clean", "--store", store]) == 2
    told = capsys.readouterr().err
    assert "what search tiny needs cannot be told" in told
    assert "no such file; give a CSV" in told
    assert "or remove everything with --all" in told
    assert entries(cache) == 24
    assert cli.run(["clean", "--store", store, "--all"]) == 0
    assert entries(cache) == 0
