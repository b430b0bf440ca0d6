"""Imports point upstream, heavy libraries have one address, modules stay readable."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "mer_search"
FILES = sorted(ROOT.rglob("*.py"))
GROUND = {"errors"}
SETTINGS = {"errors", "config"}  # with `feature_settings`, the first part of its page
STAGES = {*SETTINGS, "experiment", "space_file", "datasets", "features", "models", "loso", "study",
          "tracking", "search", "report", "export"}  # fmt: skip

# place -> the places it may import; the longest matching place speaks for a file
ALLOWED: dict[str, set[str]] = {
    "__init__": {"notebook"},
    "notebook": STAGES,
    "errors": set(),
    "feature_settings": GROUND,
    "config": {*GROUND, "feature_settings"},
    "experiment": SETTINGS,
    "search_plan": {*SETTINGS, "experiment"},
    "space_file": {*SETTINGS, "experiment", "search_plan"},
    "datasets": {*GROUND, "datasets"},
    "features": {*SETTINGS, "datasets", "features"},
    "models": {*GROUND, "models"},
    "loso.folds": GROUND,
    "loso.metrics": GROUND,
    "loso.estimates": {*GROUND, "loso.metrics"},
    "loso.megc_log": {*GROUND, "loso.metrics"},
    "loso.fold_block": set(),
    "loso.ledger": {*GROUND, "loso.fold_block"},
    "loso.stores": {*GROUND, "loso.ledger"},
    "loso.result": {*GROUND, "loso.ledger", "loso.folds", "loso.metrics"},
    "loso.nested": {*GROUND, "loso.estimates", "loso.folds", "loso.ledger", "loso.result"},
    "loso": {*SETTINGS, "models", "loso", "features.cache", "features.records",
             "features.backbones", "features.last_block"},
    "study": {*SETTINGS, "experiment", "study", "loso.ledger"},
    "tracking": {*SETTINGS, "experiment", "space_file", "tracking", "loso.ledger", "loso.folds",
                 "loso.metrics", "loso.result", "loso.estimates", "loso.nested"},
    "search.racing": {*GROUND, "loso.metrics"},
    "search": {*SETTINGS, "experiment", "space_file", "search", "loso", "study", "tracking",
               "features", "datasets"},
    "commands": {*STAGES, "commands"},
    "quickstart": {*STAGES, "commands"},
    "cli": {"errors", "commands", "quickstart"},
    "__main__": {"cli"},
    "report": {*GROUND, "report", "tracking", "study", "loso.metrics", "loso.estimates",
               "loso.ledger", "loso.folds", "loso.result", "loso.megc_log", "loso.nested",
               "loso.confirmed"},
    "export": {*SETTINGS, "experiment", "space_file", "export", "features", "models", "loso",
               "tracking", "datasets"},
}  # fmt: skip

# library -> the places that may import it
ADDRESSES: dict[str, set[str]] = {
    "facenet_pytorch": {"features"},
    "optuna": {"study"},
    "ray": {"search"},
    "mlflow": {"tracking", "export"},
    "torch": {
        "features",
        "models",
        "loso.train",
        "loso.run",
        "loso.fine_tune",
        "loso.fine_needs",
        "loso.memory",
        "search",
        "export",
    },
    "pandas": {"datasets", "export", "notebook"},
}


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports_of(file: Path) -> Iterator[str]:
    """Every imported module or name, those inside functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


def test_every_file_was_seen() -> None:
    walked = [name for _, _, names in os.walk(ROOT) for name in names if name.endswith(".py")]
    assert len(FILES) == len(walked) >= 104
    assert {name_of(file).partition(".")[0] for file in FILES} <= {
        place.partition(".")[0] for place in ALLOWED
    }


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_point_upstream(file: Path) -> None:
    name = name_of(file)
    place = max((each for each in ALLOWED if within(name, each)), key=len)
    ours = {each.removeprefix("mer_search.") for each in imports_of(file)
            if each.startswith("mer_search.")}  # fmt: skip
    strays = [
        each
        for each in sorted(ours - {"__version__"})
        if not any(within(each, allowed) for allowed in ALLOWED[place])
    ]
    assert strays == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_heavy_libraries_have_one_address(file: Path) -> None:
    name = name_of(file)
    strays = [
        each
        for each in imports_of(file)
        for library, places in ADDRESSES.items()
        if within(each, library) and not any(within(name, place) for place in places)
    ]
    assert strays == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_modules_and_functions_stay_short(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 300
    long = [
        f"{node.name} {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > 60
    ]
    assert long == []
