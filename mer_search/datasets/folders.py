"""Folders of frames, found by what their paths end with. Not for what is in them: see `images`.

Archives nest their top folders, and users unpack them anywhere, so only the last parts of a path
are looked at, `X/X` counting as `X`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mer_search.datasets.images import SUFFIXES
from mer_search.errors import InputError, did_you_mean

SHADOWS = frozenset({"__macosx", "@eadir"})
"""Trees of stray files that a Mac and a network disk add."""

Place = tuple[str, str]
"""(subject, clip folder in lower case)."""


@dataclass(frozen=True)
class Folders:
    """Where each clip's frames stand."""

    root: Path
    of: dict[Place, Path]

    def find(self, subject: str, names: tuple[str, ...]) -> Path | None:
        """The folder of the first of `names` that there is."""
        found = (self.of.get((subject, name.lower())) for name in names)
        return next((path for path in found if path), None)

    def hint(self, subject: str, name: str) -> str:
        """What to do about a clip that has no folder."""
        names = [path.name for (owner, _), path in self.of.items() if owner == subject]
        if not names:
            return f"there is no folder {subject} with clips; complete the copy"
        return f"complete the copy or mend the name ({did_you_mean(name, names)})"

    def unused(self, used: set[Path]) -> list[str]:
        """Folders with frames that no clip took, relative to the root."""
        left = [path for path in self.of.values() if path not in used and holds_frames(path)]
        return sorted(str(path.relative_to(self.root)) for path in left)


def find(
    root: Path,
    pattern: re.Pattern[str],
    place: Callable[[re.Match[str]], Place],
    *,
    skip: frozenset[str] = frozenset(),
    expected: str,
) -> Folders:
    """All folders below `root` whose path, in lower case with `/`, ends as `pattern` says.

    Args:
        place: subject and clip folder from a match.
        skip: names of folders not to look into (depth maps, say).
        expected: how the message calls what was looked for, and what to unpack.

    Raises:
        InputError: there is none, or one clip stands in several (raw and cropped copies, say).
    """
    found: dict[Place, Path] = {}
    twice: list[tuple[Path, Path]] = []
    for folder in walk(root, skip | SHADOWS):
        match = pattern.search(end_of(folder))
        if match is None:
            continue
        first = found.setdefault(place(match), folder)
        if first != folder and holds_frames(folder) and not os.path.samefile(first, folder):
            if holds_frames(first):
                twice.append((first, folder))
            else:  # X/X: the outer one holds nothing but the inner
                found[place(match)] = folder
    if twice:
        first, second = twice[0]
        raise InputError(
            root,
            f"the frames of {len(twice)} clips stand in several folders ({first} and {second}, "
            "say); give the folder of one layout as root: the spreadsheet may stay beside it",
        )
    if not found:
        raise InputError(root, expected)
    return Folders(root, found)


def walk(folder: Path, skip: frozenset[str], above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """`folder` and all folders below it, in order of path; links are followed, loops are not."""
    real = os.path.realpath(folder)
    if real in above:
        return
    yield folder
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError as problem:
        raise InputError(folder, f"cannot be read ({problem.strerror}); mend its rights") from None
    for name in names:
        if name.lower() not in skip and not name.startswith("."):
            yield from walk(folder / name, skip, above | {real})


def end_of(folder: Path) -> str:
    """The path in lower case with `/`, equal neighbours once."""
    parts: list[str] = []
    for part in folder.absolute().parts:
        part = part.strip().lower()
        if not parts or parts[-1] != part:
            parts.append(part)
    return "/".join(parts)


def holds_frames(folder: Path) -> bool:
    """Whether an image stands in the folder itself."""
    with os.scandir(folder) as entries:
        return any(
            os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.name.startswith(".")
            for entry in entries
        )
