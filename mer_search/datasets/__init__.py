"""Readers of published layouts, one file each; all return a `DataSet` of `Clip` records.

    casme2, samm, smic, casme3, mmew, four_dme    the owners' layouts
    megc2019     the composite of the first three
    manifest     a CSV of precomputed images or maps
    annotated    what data sets with a spreadsheet share; spreadsheet, folders, images: its parts
    corrections  repairs to annotations, each with its source (corrections.csv)
    synthetic    writes semi-synthetic data sets in these layouts (`faces` makes the frames)
    classes      emotion -> class: casme2-5, megc-3, a user's own
    clips        the records

A new reader is one file with `read(root, *, classes)` and one line in `READERS`. It puts clips that
cannot be used into `DataSet.faults` and raises only where nothing can be read at all.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

from mer_search.datasets.classes import Classes
from mer_search.datasets.clips import Clip, DataSet
from mer_search.errors import InputError, did_you_mean

__all__ = ["READERS", "Clip", "DataSet", "Reader", "read"]

READERS: dict[str, str] = {
    "casme2": "casme2:read",
    "samm": "samm:read",
    "smic-hs": "smic:read_hs",
    "smic-vis": "smic:read_vis",
    "smic-nir": "smic:read_nir",
    "casme3": "casme3:read",
    "mmew": "mmew:read",
    "4dme": "four_dme:read",
    "megc2019": "megc2019:read",
    "manifest": "manifest:read",
}
"""Reader -> its module and function, imported when it is asked for: pandas is slow to load."""


class Reader(Protocol):
    """What every reader is."""

    def __call__(self, root: Path, *, classes: Classes | None = None) -> DataSet:
        """All usable clips below `root`, the others as faults; `None`: the default classes."""


def read(
    reader: str,
    root: str | Path,
    *,
    classes: Classes | None = None,
    on_fault: Literal["refuse", "skip"] = "refuse",
) -> DataSet:
    """Reads a data set.

    Args:
        reader: a name in `READERS`.
        root: the data set's folder, or a manifest's CSV file.
        classes: a name in `classes.BUILT_IN` ("megc-3") or `{class: [emotion, ...]}`;
            None: the reader's default.
        on_fault: "skip" goes on without the clips that `DataSet.faults` then names.

    Raises:
        InputError: an unknown reader or class map; nothing readable at `root`; clips that cannot
            be used, unless they are skipped; no clip, one class or one subject left. All faults
            of a data set are in one message.
    """
    if reader not in READERS:
        hint = did_you_mean(reader, READERS)
        raise InputError("data.reader", f"{reader!r} is no reader; {hint}")
    module, _, function = READERS[reader].partition(":")
    read_it = cast(Reader, getattr(import_module(f"mer_search.datasets.{module}"), function))
    root = Path(root).expanduser()
    found = read_it(root, classes=classes)
    fatal = _too_little(found)
    if fatal or (found.faults and on_fault == "refuse"):
        raise InputError(root, _with_cure(found.faults, fatal))
    return found


def _too_little(found: DataSet) -> tuple[str, ...]:
    """Why leave-one-subject-out makes no sense on these clips; empty when it does."""
    if not found.clips:
        classes = ", ".join(found.classes)
        return (f"no clip of the classes {classes} can be used; check root and data.classes",)
    faults = []
    if len(found.subjects) < 2:
        ((dataset, subject),) = found.subjects
        faults.append(
            f"all {len(found.clips)} usable clips are of one subject, {dataset}/{subject}; "
            "leave-one-subject-out needs two or more: bring clips of more subjects"
        )
    labels = sorted({clip.label for clip in found.clips})
    if len(labels) < 2:
        faults.append(
            f"all {len(found.clips)} usable clips are of one class, {labels[0]}; "
            "telling classes apart needs two or more: check data.classes"
        )
    return tuple(faults)


def _with_cure(clip_faults: tuple[str, ...], fatal: tuple[str, ...]) -> tuple[str, ...]:
    """All faults, the last one with the way out; skipping is offered where it would help."""
    faults = [*clip_faults, *fatal]
    if clip_faults and not fatal:
        what = (
            "the fault above, or set data.on_fault: skip to go on without this clip"
            if len(clip_faults) == 1
            else f"the {len(clip_faults)} faults above, or set data.on_fault: skip to go on "
            "without these clips"
        )
        faults[-1] += f"\nmend {what}"
    return tuple(faults)
