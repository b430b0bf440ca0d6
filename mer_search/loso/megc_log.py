"""Prediction logs as the MEGC challenges exchange them: read, scored, written.

A line of two words opens a subject, lines of three words are its clips with truth and prediction:

    casme2 sub01
    EP02_01f 1 1

Class numbers are the authors' own; scoring takes the numbers that occur (so 0-2 and 1-3 both
work). A class that never occurs in a file is unknown to it: give `classes` to count it as 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mer_search.errors import InputError
from mer_search.loso.metrics import OBJECTIVES, confusion


@dataclass(frozen=True)
class LoggedClip:
    """One clip of a log; `truth` and `predicted` are class numbers."""

    dataset: str
    subject: str
    name: str
    truth: int
    predicted: int


def read_log(path: Path) -> tuple[LoggedClip, ...]:
    """The clips of a log, in its order; blank lines do not count.

    Raises:
        InputError: the file cannot be read, holds no clip, or has malformed lines (all of them
            are told, with their numbers).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(
            path, f"cannot be read as text ({fault}); give a prediction log"
        ) from fault
    clips: dict[tuple[str, str, str], LoggedClip] = {}
    faults: list[str] = []
    subject: tuple[str, str] | None = None
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if len(words) == 2:
            subject = (words[0], words[1])
        elif words:
            try:
                clip = _clip(words, subject)
                if (clip.dataset, clip.subject, clip.name) in clips:
                    raise ValueError(f"clip {clip.name!r} of {clip.subject} is there twice")
                clips[clip.dataset, clip.subject, clip.name] = clip
            except ValueError as fault:
                faults.append(f"line {number}: {fault}")
    if not clips and not faults:
        faults = ["no clip found; write `casme2 sub01`, then lines such as `EP02_01f 1 1`"]
    if faults:
        raise InputError(path, faults)
    return tuple(clips.values())


def _clip(words: list[str], subject: tuple[str, str] | None) -> LoggedClip:
    """The clip that a line's words describe. Raises ValueError."""
    if len(words) != 3:
        raise ValueError(f"{len(words)} words; write `dataset subject` or `clip truth prediction`")
    name, *numbers = words
    if not all(each.isascii() and each.isdigit() for each in numbers):
        raise ValueError(f"truth {numbers[0]!r} and prediction {numbers[1]!r} must be 0 or more")
    if subject is None:
        raise ValueError(f"clip {name!r} before any subject; write `dataset subject` above it")
    return LoggedClip(*subject, name, int(numbers[0]), int(numbers[1]))


def write_log(clips: Iterable[LoggedClip]) -> str:
    """The text of a log, subjects in order of first appearance; `read_log` reads it back.

    Raises:
        InputError: names that hold white space or nothing, which the format cannot carry.
    """
    groups: dict[tuple[str, str], list[LoggedClip]] = {}
    faults = []
    for clip in clips:
        if any(len(word.split()) != 1 for word in (clip.dataset, clip.subject, clip.name)):
            faults.append(
                f"{clip.dataset!r}, {clip.subject!r}, {clip.name!r}: the log format separates by "
                "spaces; rename without them"
            )
        groups.setdefault((clip.dataset, clip.subject), []).append(clip)
    if faults:
        raise InputError("export-log", faults)
    lines = []
    for (dataset, subject), members in groups.items():
        lines.append(f"{dataset} {subject}")
        lines += [f"{clip.name} {clip.truth} {clip.predicted}" for clip in members]
    return "\n".join(lines) + "\n"


def score_log(path: Path, *, classes: int | None = None) -> dict[str, Any]:
    """Pooled scores of a log, and of each of its data sets over the same classes.

    Args:
        classes: how many there are, numbered from 0; the numbers that occur if not given.

    Returns:
        `{"clips", "subjects", "classes", "uf1", "uar", "accuracy", "confusion", "datasets"}`;
        confusion has truth by row, both in the order of `classes`; `datasets` maps each name to
        the same fields.

    Raises:
        InputError: see `read_log`, or a class number that is not below `classes`.
    """
    clips = read_log(path)
    found = sorted({number for clip in clips for number in (clip.truth, clip.predicted)})
    if classes is not None and found[-1] >= classes:
        raise InputError(
            path, f"class {found[-1]} is not below {classes}; number {classes} classes from 0"
        )
    known = found if classes is None else list(range(classes))
    names = sorted({clip.dataset for clip in clips})
    parts = {name: _scored([c for c in clips if c.dataset == name], known) for name in names}
    return {**_scored(clips, known), "datasets": parts}


def _scored(clips: Iterable[LoggedClip], known: list[int]) -> dict[str, Any]:
    """Pooled scores of clips over the class numbers `known` [C]."""
    clips = list(clips)
    place = {number: column for column, number in enumerate(known)}
    truth, predicted = (
        np.array([place[number] for number in numbers])
        for numbers in ([clip.truth for clip in clips], [clip.predicted for clip in clips])
    )
    counts = confusion(truth, predicted, len(known))
    return {
        "clips": len(clips),
        "subjects": len({(clip.dataset, clip.subject) for clip in clips}),
        "classes": known,
        **{name: float(score(counts)) for name, score in OBJECTIVES.items()},
        "confusion": counts.tolist(),
    }
