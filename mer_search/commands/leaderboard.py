"""`leaderboard`: rival models under one protocol, with equal budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mer_search.commands.options import (
    STORE,
    AsJson,
    Device,
    Settings,
    Store,
    Tracking,
    console,
    print_json,
)  # fmt: skip
from mer_search.errors import InputError

if TYPE_CHECKING:
    from mer_search.experiment import Experiment

SHARED = ("data", "evaluation")
"""Sections that all files of a leaderboard have in common."""


def leaderboard(
    folder: Annotated[
        str, typer.Argument(help="A folder of search-space files, or a shipped one.")
    ] = "leaderboard",
    trials: Annotated[
        int | None, typer.Option(min=1, help="Of every rival, earlier ones counted.")
    ] = None,
    store: Store = STORE,
    tracking: Tracking = None,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster; or auto.")] = None,
    settings: Settings = None,
    html: Annotated[Path | None, typer.Option(help="Write the report into this file.")] = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Runs every search of a folder with the same number of trials, and compares them.

    Searches that exist are continued; the command may be given again at any time.

    Example: mer-search leaderboard search_spaces/leaderboard --trials 4 --store runs
    """
    from mer_search.commands.searches import run
    from mer_search.loso.ledger import Ledger
    from mer_search.report import leaderboard as stage

    rivals = read_rivals(folder, trials, settings or ())
    out = console(error=as_json)
    for place, rival in enumerate(rivals, 1):
        out.print(f"{rival.name} ({place} of {len(rivals)})", style="bold")
        outcome, _ = run(rival, out, store=store, tracking=tracking, address=address, device=device)
        if outcome.cut_short:
            out.print(f"{outcome.ended}; the same command continues, no finished fold is lost")
            raise typer.Exit(130)
    found = stage.read([Ledger(store, rival.name) for rival in rivals])
    if html:
        from mer_search.report import page

        page.write(found.comparison, html)
    if as_json:
        print_json(found.as_json())
        return
    console().print(stage.render(found))


def read_rivals(folder: str, trials: int | None, settings: Sequence[str]) -> list[Experiment]:
    """The experiments of a folder, checked to be comparable before anything runs.

    Raises:
        InputError: no files, files that are no search spaces, or that differ in name, data,
            evaluation or number of trials; all faults at once.
    """
    from mer_search import space_file

    changes = [*settings, *([] if trials is None else [f"search.trials={trials}"])]
    found: list[Experiment] = []
    told: dict[str, list[str]] = {}
    for file in _files(folder):
        try:
            found.append(space_file.read(file, changes))
        except InputError as fault:
            for sentence in fault.faults:
                told.setdefault(sentence, []).append(file.name)
    faults = [f"{', '.join(files)}: {sentence}" for sentence, files in told.items()]
    if found:
        faults += [sentence for other in found[1:] for sentence in _differences(found[0], other)]
    names = [rival.name for rival in found]
    faults += [
        f"name {name!r} is that of {names.count(name)} files; give each its own"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if faults:
        raise InputError(folder, faults)
    return found


def _files(folder: str) -> list[Path]:
    """The files of a folder, or of a shipped one."""
    from mer_search import space_file

    shipped = [path for name, path in space_file.shipped().items()
               if name.startswith(f"{folder.rstrip('/')}/")]  # fmt: skip
    files = sorted(Path(folder).glob("*.yaml")) if Path(folder).is_dir() else shipped
    if not files:
        raise InputError(
            folder, "holds no search-space file (*.yaml); give a folder of them, or `leaderboard`"
        )
    return files


def _differences(first: Experiment, other: Experiment) -> Iterator[str]:
    """Why two files are no rivals under one protocol."""
    both = f"{first.name} and {other.name}"
    for section in SHARED:
        one, two = (getattr(each, section).model_dump() for each in (first, other))
        if odd := sorted(key for key in one if one[key] != two[key]):
            told = ", ".join(f"{key} {one[key]!r} and {two[key]!r}" for key in odd)
            yield f"{both} differ in {section} ({told}); one protocol for all, or use --set"
    budgets = [each.search.trials for each in (first, other)]
    if budgets[0] != budgets[1]:
        yield (
            f"{both} have {budgets[0]} and {budgets[1]} trials; budgets must be equal, so give "
            "--trials"
        )
