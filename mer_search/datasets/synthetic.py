"""Writes a semi-synthetic data set in an owner's layout, for trials without a licence.

Faces are real to a face network, expressions are known by construction. Not for claims about
micro-expressions: see `mer_search.datasets.faces` for what moves.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mer_search.datasets import faces
from mer_search.datasets.owners import OWNERS, named_full
from mer_search.datasets.takes import Owner, Take, owner_named
from mer_search.errors import InputError

JPEG_QUALITY = 95
COMPOSITE = ("casme2", "samm", "smic")
"""What megc2019 is made of, each in a folder of that name."""


def write(
    directory: str | Path,
    *,
    layout: str = "casme2",
    subjects: int = 8,
    clips: int = 10,
    classes: int | None = None,
    frames: int = 20,
    signal: float = 1.0,
    seed: int = 0,
) -> Path:
    """Writes a data set of moving faces; equal arguments give equal bytes. Complete or absent.

    Args:
        directory: new or empty folder; the reader called like `layout` takes it as root.
        layout: whose folders and spreadsheet: a name in `owners.OWNERS`.
        subjects: invented people.
        clips: clips per subject, the classes in turn.
        classes: how many of the layout's expressions are used; None: all.
        frames: mean length of a clip; lengths vary by a quarter.
        signal: the share of clips whose face moves as their label says; the others move as a class
            drawn at random. With 0 labels mean nothing.
        seed: of everything drawn.

    Returns:
        The folder.

    Raises:
        InputError: impossible arguments, all at once; the folder holds something already.
    """
    if layout == "megc2019":
        raise InputError(
            "layout", "megc2019 is its 442 clips and no fewer; write it with --full (write_full)"
        )
    owner = OWNERS[owner_named(layout, OWNERS)]
    count = len(owner.emotions) if classes is None else classes
    recipe = Recipe(subjects, clips, count, frames, signal, seed, tuple(owner.emotions.items()))
    if recipe.faults:
        raise InputError("synthetic data", recipe.faults)
    with _complete_or_absent(directory) as (place, final):
        takes = [
            take
            for subject in range(1, subjects + 1)
            for take in _write_subject(place, subject, recipe, owner)
        ]
        _write_sheets(place, owner, takes)
    return final


def write_full(directory: str | Path, *, layout: str = "casme2") -> Path:
    """Writes a copy with the owner's numbers of clips, subjects and emotions; frames show nothing.

    For rehearsing `data check` and the tests of readers. One tiny image per format is linked under
    every name, so that a copy of hundreds of clips costs next to nothing.

    Args:
        layout: a name in `owners.OWNERS`, or "megc2019".

    Raises:
        InputError: an unknown layout; the folder holds something already.
    """
    owner_named(layout, [*OWNERS, "megc2019"])
    members = {name: name for name in COMPOSITE} if layout == "megc2019" else {"": layout}
    with _complete_or_absent(directory) as (place, final):
        for folder, name in members.items():
            owner = OWNERS["smic-hs" if name == "smic" else name]
            write_plain(place / folder, owner, named_full(owner))
    return final


def write_plain(place: Path, owner: Owner, takes: Sequence[Take]) -> None:
    """Writes takes whose frames show nothing, all of them links to one tiny image."""
    place.mkdir(parents=True, exist_ok=True)
    _link_frames(place, owner, takes)
    _write_sheets(place, owner, takes)


@contextmanager
def _complete_or_absent(directory: str | Path) -> Iterator[tuple[Path, Path]]:
    """A folder to write into that becomes `directory` at the end; and `directory`."""
    final = Path(directory).expanduser().absolute()
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise InputError(final, "exists and is not empty; delete it or name another folder")
    unfinished = final.with_name(f".{final.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished, final
        unfinished.replace(final)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@dataclass(frozen=True)
class Recipe:
    """The arguments of `write`."""

    subjects: int
    clips: int
    classes: int
    frames: int
    signal: float
    seed: int
    all_emotions: tuple[tuple[str, tuple[str, str]], ...] = tuple(OWNERS["casme2"].emotions.items())

    @property
    def emotions(self) -> dict[str, str]:
        """Emotion -> movement."""
        return {emotion: shown for emotion, (shown, _) in self.all_emotions[: self.classes]}

    @property
    def faults(self) -> list[str]:
        """Arguments that are impossible, one sentence each."""
        total, most = self.clips * self.subjects, len(self.all_emotions)
        rules = {
            f"subjects {self.subjects} must be 2 or more; LOSO needs two": self.subjects < 2,
            f"clips {self.clips} must be 1 or more per subject": self.clips < 1,
            f"classes {self.classes} must be 2 to {most}": not 2 <= self.classes <= most,
            f"clips {self.clips} x subjects {self.subjects} must reach classes {self.classes}; "
            "raise clips or subjects": 1 < total < self.classes <= most,
            f"frames {self.frames} must be 4 or more; onset, apex, offset differ": self.frames < 4,
            f"signal {self.signal} must be 0 (labels mean nothing) to 1": not 0 <= self.signal <= 1,
            f"seed {self.seed} must be 0 or more": self.seed < 0,
        }
        return [rule for rule, broken in rules.items() if broken]


def plan(rng: np.random.Generator, subject: int, recipe: Recipe) -> Iterator[Take]:
    """What one subject's clips will show, class by class in turn."""
    emotions = list(recipe.emotions)
    for number in range(recipe.clips):
        # Subjects start at different classes, so that few clips per subject still balance.
        emotion = emotions[(number + subject) % len(emotions)]
        shown = emotion if rng.random() < recipe.signal else emotions[rng.integers(len(emotions))]
        length = max(4, round(recipe.frames * rng.uniform(0.75, 1.25)))
        onset = int(rng.integers(20, 120))
        apex = onset + max(1, round((length - 1) * rng.uniform(0.35, 0.6)))
        name = f"EP{number + 1:02d}_{1 + int(rng.integers(20)):02d}"
        movement = recipe.emotions[shown]
        yield Take(subject, name, emotion, movement, onset, apex, onset + length - 1)


def _write_subject(root: Path, subject: int, recipe: Recipe, owner: Owner) -> Iterator[Take]:
    # A stream per subject: asking for more subjects leaves the first ones as they are.
    rng = np.random.default_rng([recipe.seed, subject])
    person = faces.subject(rng)
    for number, drawn in enumerate(plan(rng, subject, recipe)):
        take = owner.named(drawn, number)
        _write_clip(root, take, person, owner, rng)
        yield take


def course(take: Take, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Strength of the movement per frame [T]: 0 at onset, about 1 at apex, a rest at offset."""
    rise = np.linspace(0.0, 1.0, take.apex - take.onset + 1)
    fall = np.linspace(1.0, rng.uniform(0.1, 0.4), take.offset - take.apex + 1)[1:]
    line = np.concatenate([rise, fall])
    smooth: npt.NDArray[np.float64] = line * line * (3 - 2 * line) * rng.uniform(0.5, 1.1)
    return smooth


def _write_clip(
    root: Path, take: Take, person: faces.Subject, owner: Owner, rng: np.random.Generator
) -> None:
    motion = faces.Motion(take.movement, course(take, rng))
    for number, frame in enumerate(faces.frames(person, motion, rng), start=take.onset):
        path = root / owner.frame(take, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_encoded(_seen(owner, frame), path.suffix))


def _seen(owner: Owner, frame: faces.Image) -> faces.Image:
    """What the owner's camera makes of a frame."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8) if owner.grey else frame


def _encoded(frame: faces.Image, suffix: str) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    return bytes(cv2.imencode(suffix, frame, options)[1].tobytes())


def _link_frames(root: Path, owner: Owner, takes: Sequence[Take]) -> None:
    """One small image per format, and links to it."""
    plain = _seen(owner, np.full((6, 8, 3), 120, np.uint8))
    first: dict[str, Path] = {}
    for take in takes:
        for number in range(take.onset, take.offset + 1):
            path = root / owner.frame(take, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix not in first:
                path.write_bytes(_encoded(plain, path.suffix))
            else:
                os.link(first[path.suffix], path)
            first.setdefault(path.suffix, path)


def _write_sheets(root: Path, owner: Owner, takes: Sequence[Take]) -> None:
    for name, content in owner.sheets(takes).items():
        (root / name).write_bytes(content)
