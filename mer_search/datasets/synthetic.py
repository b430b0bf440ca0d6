"""Writes a semi-synthetic data set in CASME II's layout, for trials without a licence.

Faces are real to a face network, expressions are known by construction. Not for claims about
micro-expressions: see `mer_search.datasets.faces` for what moves.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from mer_search.datasets import faces
from mer_search.errors import InputError

CODING = "CASME2-coding-20140508.xlsx"
FRAMES = "CASME2_RAW_selected"
HEADER = ("Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None,
          "Action Units", "Estimated Emotion")  # fmt: skip
EMOTIONS: dict[str, tuple[str, str]] = {
    "happiness": ("lip corners", "12"),
    "surprise": ("brow raise", "1+2"),
    "disgust": ("brow lowering and nose", "4+9"),
    "repression": ("lip press", "24"),
    "others": ("one-sided", "L14"),
}
"""Emotion -> its movement in `faces.MOVEMENTS` and its action units. In order of use."""
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Take:
    """One clip to be written; frame numbers as the owners count them."""

    subject: int
    name: str
    emotion: str
    movement: str
    onset: int
    apex: int
    offset: int


def write(
    directory: str | Path,
    *,
    subjects: int = 8,
    clips: int = 10,
    classes: int = 5,
    frames: int = 20,
    signal: float = 1.0,
    seed: int = 0,
) -> Path:
    """Writes the data set; equal arguments give equal bytes. Complete or absent.

    Args:
        directory: new or empty folder; the reader "casme2" takes it as root.
        subjects: invented people.
        clips: clips per subject, the classes in turn.
        classes: how many of `EMOTIONS` are used.
        frames: mean length of a clip; lengths vary by a quarter.
        signal: the share of clips whose face moves as their label says; the others move as a class
            drawn at random. With 0 labels mean nothing.
        seed: of everything drawn.

    Returns:
        The folder.

    Raises:
        InputError: impossible arguments, all at once; the folder holds something already.
    """
    recipe = Recipe(subjects, clips, classes, frames, signal, seed)
    if recipe.faults:
        raise InputError("synthetic data", recipe.faults)
    directory = Path(directory).expanduser().absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(directory, "exists and is not empty; delete it or name another folder")
    unfinished = directory.with_name(f".{directory.name}.{os.getpid()}.unfinished")
    try:
        takes = [
            take
            for subject in range(1, subjects + 1)
            for take in _write_subject(unfinished / FRAMES, subject, recipe)
        ]
        (unfinished / CODING).write_bytes(coding(takes))
        unfinished.replace(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return directory


@dataclass(frozen=True)
class Recipe:
    """The arguments of `write`."""

    subjects: int
    clips: int
    classes: int
    frames: int
    signal: float
    seed: int

    @property
    def emotions(self) -> list[str]:
        return list(EMOTIONS)[: self.classes]

    @property
    def faults(self) -> list[str]:
        """Arguments that are impossible, one sentence each."""
        total, most = self.clips * self.subjects, len(EMOTIONS)
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
    emotions = recipe.emotions
    for number in range(recipe.clips):
        # Subjects start at different classes, so that few clips per subject still balance.
        emotion = emotions[(number + subject) % len(emotions)]
        shown = emotion if rng.random() < recipe.signal else emotions[rng.integers(len(emotions))]
        length = max(4, round(recipe.frames * rng.uniform(0.75, 1.25)))
        onset = int(rng.integers(20, 120))
        apex = onset + max(1, round((length - 1) * rng.uniform(0.35, 0.6)))
        name = f"EP{number + 1:02d}_{1 + int(rng.integers(20)):02d}"
        yield Take(subject, name, emotion, EMOTIONS[shown][0], onset, apex, onset + length - 1)


def _write_subject(root: Path, subject: int, recipe: Recipe) -> Iterator[Take]:
    # A stream per subject: asking for more subjects leaves the first ones as they are.
    rng = np.random.default_rng([recipe.seed, subject])
    person = faces.subject(rng)
    for take in plan(rng, subject, recipe):
        _write_clip(root, take, person, rng)
        yield take


def course(take: Take, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Strength of the movement per frame [T]: 0 at onset, about 1 at apex, a rest at offset."""
    rise = np.linspace(0.0, 1.0, take.apex - take.onset + 1)
    fall = np.linspace(1.0, rng.uniform(0.1, 0.4), take.offset - take.apex + 1)[1:]
    line = np.concatenate([rise, fall])
    smooth: npt.NDArray[np.float64] = line * line * (3 - 2 * line) * rng.uniform(0.5, 1.1)
    return smooth


def _write_clip(root: Path, take: Take, person: faces.Subject, rng: np.random.Generator) -> None:
    folder = root / f"sub{take.subject:02d}" / take.name
    folder.mkdir(parents=True)
    motion = faces.Motion(take.movement, course(take, rng))
    for number, frame in enumerate(faces.frames(person, motion, rng), start=take.onset):
        _, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        (folder / f"img{number}.jpg").write_bytes(jpeg.tobytes())


def coding(takes: list[Take]) -> bytes:
    """The spreadsheet, with the owner's columns."""
    rows: list[tuple[object, ...]] = [HEADER]
    for take in takes:
        units = EMOTIONS[take.emotion][1]
        rows.append((f"{take.subject:02d}", take.name, None, take.onset, take.apex, take.offset,
                     None, int(units) if units.isdigit() else units, take.emotion))  # fmt: skip
    file = io.BytesIO()
    pd.DataFrame(rows, dtype=object).to_excel(file, sheet_name="Sheet1", header=False, index=False)
    return _without_time(file.getvalue())


def _without_time(xlsx: bytes) -> bytes:
    """The same workbook without the times of writing, which openpyxl puts into the archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(xlsx)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"2000-01-01T00:00:00Z",
                             old.read(name))  # fmt: skip
            new.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()
