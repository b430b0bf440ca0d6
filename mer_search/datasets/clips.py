"""The records that every reader returns: a clip, and a data set of them. Not for pixels.

Letters: T frames of a clip, N clips.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Clip:
    """One labelled clip.

    Attributes:
        dataset: short name of the data set it comes from ("casme2").
        subject: the owner's subject name, padded ("sub01"); unique only within `dataset`.
        name: the owner's clip name ("EP02_01f"); unique only within (dataset, subject).
        label: class name under the chosen classes ("happiness").
        onset, apex, offset: 0-based positions in `frames`; None where not annotated.
        frames: the image files in time order [T].
    """

    dataset: str
    subject: str
    name: str
    label: str
    onset: int | None
    apex: int | None
    offset: int | None
    frames: tuple[Path, ...]

    @property
    def key(self) -> str:
        """`dataset/subject/name`, unique in any union of data sets."""
        return f"{self.dataset}/{self.subject}/{self.name}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the bytes of the frames, in order; paths do not count. Reads every frame."""
        total = hashlib.sha256()
        for path in self.frames:
            total.update(hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()


@dataclass(frozen=True)
class DataSet:
    """What a reader found under one root.

    Attributes:
        reader: the reader's name.
        version: the annotation version that was recognised ("2014-05-08").
        classes: class names in the order of the probability columns [C].
        clips: usable clips, sorted by key [N].
        faults: clips that cannot be used, one sentence each with file, value and cure.
        corrections: repairs that were applied to annotations, one sentence each.
        notes: what is worth knowing and no fault, such as clips outside the classes.
        boundaries: "annotated" where clips are cut to annotated onset..offset, else "spotted".
    """

    reader: str
    version: str
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    faults: tuple[str, ...] = ()
    corrections: tuple[str, ...] = ()
    boundaries: str = field(default="annotated")
    notes: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[tuple[str, str], ...]:
        """Distinct (dataset, subject) pairs, sorted."""
        return tuple(sorted({(clip.dataset, clip.subject) for clip in self.clips}))

    @property
    def counts(self) -> dict[str, int]:
        """Clips per class, every class present even with 0."""
        found = Counter(clip.label for clip in self.clips)
        return {name: found[name] for name in self.classes}

    def to_pandas(self) -> pd.DataFrame:
        """One row per clip: dataset, subject, clip, label, onset, apex, offset, length, frames.

        Onset, apex and offset are positions in `frames` (a tuple of paths) and may be missing.
        """
        import pandas as pd

        rows = [
            (c.dataset, c.subject, c.name, c.label, c.onset, c.apex, c.offset, len(c.frames),
             c.frames)
            for c in self.clips
        ]  # fmt: skip
        columns = ["dataset", "subject", "clip", "label", "onset", "apex", "offset", "length",
                   "frames"]  # fmt: skip
        table = pd.DataFrame(rows, columns=columns)
        table["label"] = pd.Categorical(table["label"], categories=list(self.classes))
        return table.astype(dict.fromkeys(["onset", "apex", "offset"], "Int64"))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over keys, labels, annotations and frame contents; the root does not count."""
        with ThreadPoolExecutor(8) as pool:
            digests = list(pool.map(lambda clip: clip.digest, self.clips))
        total = hashlib.sha256(repr((self.reader, self.classes)).encode())
        for clip, digest in zip(self.clips, digests, strict=True):
            annotated = (clip.key, clip.label, clip.onset, clip.apex, clip.offset, digest)
            total.update(repr(annotated).encode())
        return total.hexdigest()
