"""The composite of MEGC 2019: CASME II, SAMM and SMIC-HS with three classes.

    ROOT/casme2/...    ROOT/samm/...    ROOT/smic/...

Each folder (or link) holds that data set in its owner's layout. A full copy gives exactly the 442
clips of the challenge, 145 + 133 + 164 of 24 + 28 + 16 subjects. Subjects are people of one data
set: `casme2/sub01` is not `smic/s01`.

Source: See et al. 2019, doi 10.1109/FG.2019.8756611.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mer_search.datasets import casme2, samm, smic
from mer_search.datasets.classes import Classes
from mer_search.datasets.clips import DataSet
from mer_search.datasets.spreadsheet import squeeze
from mer_search.errors import InputError

MEMBERS: dict[str, Callable[..., DataSet]] = {
    "casme2": casme2.read,
    "samm": samm.read,
    "smic": smic.read_hs,
}
CLIPS = {"casme2": 145, "samm": 133, "smic": 164}
NAMES = {"casme2": ("casme2", "casmeii"), "samm": ("samm",), "smic": ("smic",)}
"""How the folder's name begins, without case and signs."""


def read(root: Path, *, classes: Classes | None = None) -> DataSet:
    """Reads the three data sets below `root`.

    Raises:
        InputError: classes other than the challenge's; all that keeps one of the three from being
            read, for all three at once.
    """
    if classes not in (None, "megc-3"):
        raise InputError(
            "data.classes", f"megc2019 has the classes megc-3, not {classes!r}; leave them out"
        )
    parts: dict[str, DataSet] = {}
    fatal: list[str] = []
    places = find(root)
    for name, reader in MEMBERS.items():
        try:
            parts[name] = reader(places[name], classes="megc-3")
        except InputError as problem:
            fatal += [f"{name}: {problem.where}: {fault}" for fault in problem.faults]
    if fatal:
        raise InputError(root, fatal)
    return joined(parts)


def find(root: Path) -> dict[str, Path]:
    """The folder of each data set.

    Raises:
        InputError: no such root; a data set without a folder or with several.
    """
    if not root.is_dir():
        raise InputError(root, "no such folder; give the one that holds casme2, samm and smic")
    inside = [path for path in sorted(root.iterdir()) if path.is_dir()]
    found = {
        name: [path for path in inside if squeeze(path.name).startswith(names)]
        for name, names in NAMES.items()
    }
    faults = [
        f"no folder {name} in it; put the data set, or a link to it, there"
        for name, paths in found.items()
        if not paths
    ] + [
        f"{len(paths)} folders are named like {name} ({', '.join(path.name for path in paths)}); "
        "keep one"
        for name, paths in found.items()
        if len(paths) > 1
    ]
    if faults:
        raise InputError(root, faults)
    return {name: paths[0] for name, paths in found.items()}


def joined(parts: dict[str, DataSet]) -> DataSet:
    """One data set of all clips; a part that lacks clips is a fault."""
    short = [
        f"{name}: {len(part.clips)} clips can be used, the composite has {CLIPS[name]}; "
        "complete the copy"
        for name, part in parts.items()
        if len(part.clips) != CLIPS[name]
    ]
    clips = [clip for part in parts.values() for clip in part.clips]
    return DataSet(
        reader="megc2019",
        version="; ".join(f"{name} {part.version}" for name, part in parts.items()),
        classes=next(iter(parts.values())).classes,
        clips=tuple(sorted(clips, key=lambda clip: clip.key)),
        faults=(*prefixed(parts, "faults"), *short),
        corrections=tuple(each for part in parts.values() for each in part.corrections),
        notes=prefixed(parts, "notes"),
        boundaries="annotated",
    )


def prefixed(parts: dict[str, DataSet], field: str) -> tuple[str, ...]:
    """The sentences of all parts, each after its data set's name."""
    return tuple(f"{name}: {each}" for name, part in parts.items() for each in getattr(part, field))
