"""Two small searches for all tests of export, their trials exported once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_search import Searched, search_faces, search_maps

from mer_search.export import export_trial

Exported = Callable[[Searched, int], Path]


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    return search_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="session")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    return search_maps(tmp_path_factory.mktemp("maps"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The folder of an exported trial; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("exported")

    def export(searched: Searched, number: int) -> Path:
        out = folder / searched.ledger.name / str(number)
        if not out.exists():
            export_trial(searched.ledger, number, out, cache=searched.cache, portable=False)
        return out

    return export
