"""Fixtures for readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from casme2_copies import Copy, full_rows


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "CASME2")


@pytest.fixture
def full_copy(copy: Copy) -> Callable[[str], Path]:
    """Writes a copy with the owners' numbers of clips, under invented names."""

    def write(date: str) -> Path:
        rows = full_rows(later=date.startswith("2019"))
        copy.frames(rows)
        copy.coding(rows, name=f"CASME2-coding-{date}.xlsx")
        return copy.root

    return write
