"""CASME II as its owners ship it: a spreadsheet beside folders of frames. Not for other layouts.

    ROOT/**/CASME2-coding-20140508.xlsx (or -20190701)
    ROOT/**/subXX/<Filename>/[reg_]imgN.jpg     N counts frames of the recording, not padded

Raw, selected and cropped archives differ in the names above `subXX` only, and archives nest their
top folder twice, so subject folders are looked for at any depth. Clips are cut to onset..offset.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mer_search.datasets import casme2_coding
from mer_search.datasets.casme2_coding import Row
from mer_search.datasets.classes import Classes, ClassMap, resolve
from mer_search.datasets.clips import Clip, DataSet
from mer_search.datasets.images import broken, numbered, runs
from mer_search.errors import InputError, did_you_mean

DATASET = "casme2"
EMOTIONS = ("others", "disgust", "happiness", "repression", "surprise", "sadness", "fear")
SUBJECT_FOLDER = re.compile(r"sub_?0*(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Folders:
    """Where each clip's frames stand: (subject, clip name in lower case) -> folder."""

    of: dict[tuple[str, str], Path]

    def hint(self, row: Row) -> str:
        """What to do about a clip that has no folder."""
        names = [path.name for (subject, _), path in self.of.items() if subject == row.subject]
        if not names:
            return f"there is no folder {row.subject} with clips; complete the copy"
        return f"complete the copy or mend the name ({did_you_mean(row.name, names)})"


def read(root: Path, *, classes: Classes | None = None) -> DataSet:
    """Reads a copy of CASME II.

    Args:
        root: the folder that holds spreadsheet and frames; or the spreadsheet, with the frames
            below its folder; or the folder of one layout, with the spreadsheet beside it.
        classes: see `mer_search.datasets.classes`; by default "casme2-5".

    Returns:
        The clips of the protocol; clips that cannot be used are in `faults`.

    Raises:
        InputError: no such root, no or several spreadsheets, one that cannot be read or lacks
            columns, no frames, the same clip in several folders, an impossible class map.
    """
    class_map = resolve("casme2-5" if classes is None else classes, EMOTIONS)
    coding = casme2_coding.read(root)
    folders = find_folders(root if root.is_dir() else root.parent)
    faults = [*coding.faults]
    clips = []
    rows = [(row, label) for row in coding.rows if (label := label_of(row, class_map, faults))]
    repeated = Counter((row.subject, row.name) for row in coding.rows)
    for row, label in rows:
        if repeated[row.subject, row.name] > 1:
            faults.append(f"{row.where} is annotated more than once; keep one row")
            continue
        clip, wrong = clip_of(row, label, folders)
        if clip:
            clips.append(clip)
        faults += [f"{row.where}: {fault}" for fault in wrong]
    return DataSet(
        reader=DATASET,
        version=coding.version,
        classes=class_map.names,
        clips=tuple(sorted(clips, key=lambda clip: clip.key)),
        faults=tuple(faults),
        boundaries="annotated",
    )


def label_of(row: Row, class_map: ClassMap, faults: list[str]) -> str | None:
    """The row's class; None where it is out of the protocol or, noted in `faults`, unknown."""
    if row.emotion not in EMOTIONS:
        cure = did_you_mean(row.emotion, EMOTIONS)
        faults.append(f"{row.where}: {row.emotion!r} is no emotion of CASME II; {cure}")
        return None
    return class_map.label(DATASET, row.subject, row.name, row.emotion)


def find_folders(root: Path) -> Folders:
    """All folders `subXX/<clip>` below `root`.

    Raises:
        InputError: there is none, or one clip stands in several (raw and cropped copies, say).
    """
    found: dict[tuple[str, str], Path] = {}
    twice: list[tuple[Path, Path]] = []
    for subject, folder in subject_folders(root):
        for clip in sorted(path for path in folder.iterdir() if path.is_dir()):
            first = found.setdefault((subject, clip.name.strip().lower()), clip)
            if first != clip:
                twice.append((first, clip))
    if twice:
        first, second = twice[0]
        raise InputError(
            root,
            f"the frames of {len(twice)} clips stand in several folders ({first} and {second}, "
            "say); give the folder of one layout as root: the spreadsheet may stay beside it",
        )
    if not found:
        raise InputError(
            root,
            "no folder subXX/<clip> with frames at any depth; unpack CASME2_RAW_selected, "
            "CASME2-RAW or Cropped here",
        )
    return Folders(found)


def subject_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """(subject, folder) in order of path; never descends into a subject's own folder."""
    own = SUBJECT_FOLDER.fullmatch(root.name)
    if own:
        yield f"sub{int(own[1]):02d}", root
        return
    for path in sorted(root.iterdir()):
        # Archives made on a Mac carry a shadow tree of stray files under __MACOSX.
        if path.is_dir() and path.name != "__MACOSX" and not path.name.startswith("."):
            yield from subject_folders(path)


def clip_of(row: Row, label: str, folders: Folders) -> tuple[Clip | None, list[str]]:
    """The clip of one row, or what is wrong with it."""
    if row.faults:
        return None, list(row.faults)
    folder = folders.of.get((row.subject, row.name.lower()))
    if folder is None:
        return None, [f"no folder with its frames; {folders.hint(row)}"]
    frames, wrong = numbered(folder)
    if not frames:
        return None, [f"{folder} holds no numbered images; complete the copy"]
    wanted = range(row.onset, row.offset + 1)
    missing = [number for number in wanted if number not in frames]
    if missing:
        wrong.append(
            f"{folder} lacks frames {runs(missing)} of {row.onset}..{row.offset} "
            f"(it holds {runs(sorted(frames))}); complete the copy"
        )
    chosen = tuple(frames[number] for number in wanted if number in frames)
    wrong += broken(chosen)
    if wrong:
        return None, wrong
    apex = None if row.apex is None else row.apex - row.onset
    last = len(chosen) - 1
    return Clip(DATASET, row.subject, row.name, label, 0, apex, last, chosen), []
