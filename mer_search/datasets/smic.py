"""SMIC as its owners ship it: three cameras, three readers.

    ROOT/**/HS/s1/micro/negative/s1_ne_01/image559740.jpg (or .bmp, or reg_image...)
    ROOT/**/SMIC-HS-E_annotation.xlsx, sheet HS           not needed

The clips are cut already and bear their class in path and name, so folders are what counts; the
spreadsheet lacks two clips. Where it is there, it is held against the folders. No apex is known.
Names are padded as the MEGC lists pad them: `s01/s01_ne_01`. `smic` in keys is SMIC-HS.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mer_search.datasets import folders, spreadsheet
from mer_search.datasets.classes import Classes, ClassMap, outside, resolve, tidy
from mer_search.datasets.clips import Clip, DataSet
from mer_search.datasets.images import broken, numbered, runs
from mer_search.datasets.layout import padded
from mer_search.datasets.spreadsheet import Column, Form
from mer_search.errors import InputError

EMOTIONS = ("negative", "positive", "surprise")
CODES = {"ne": "negative", "po": "positive", "sur": "surprise"}
FOLDER = re.compile(
    r"/s0*(?P<subject>\d{1,4})/(?:micro/)?(?P<emotion>negative|positive|surprise)/"
    r"s0*(?P<own>\d{1,4})_(?P<code>ne|po|sur)_?(?P<take>\d{1,4})$"
)


@dataclass(frozen=True)
class Part:
    """One camera: its name in keys and in paths, and how many clips a full copy has."""

    dataset: str
    camera: str
    clips: int

    @property
    def title(self) -> str:
        return f"SMIC-{self.camera}"

    @property
    def form(self) -> Form:
        """The spreadsheet of the extended release."""
        return Form(
            title=self.title,
            files=(f"SMIC-{self.camera}-E_annotation.xlsx",),
            prefix=f"smic{self.camera.lower()}",
            sheet=self.camera,
            columns={
                "subject": Column("Subject"),
                "name": Column("Filename"),
                "emotion": Column("Emotion"),
            },
        )


PARTS = {
    "hs": Part("smic", "HS", 164),
    "vis": Part("smic-vis", "VIS", 71),
    "nir": Part("smic-nir", "NIR", 71),
}


def read(part: Part, root: Path, *, classes: Classes | None = None) -> DataSet:
    """Reads one camera of SMIC, by default with the classes "megc-3".

    Args:
        root: the folder that holds it, however far up; other cameras below it are passed over.

    Raises:
        InputError: no such root, no such folder, the same clip in several folders, a spreadsheet
            that cannot be read, an impossible class map.
    """
    class_map = resolve("megc-3" if classes is None else classes, EMOTIONS)
    if class_map.by == "objective":
        raise InputError("data.classes", "SMIC has no objective classes; choose classes of emotion")
    if not root.is_dir():
        raise InputError(root, f"no such folder; give the one that holds {part.title} as data.root")
    found = folders.find(
        root, FOLDER, place_of, skip=others(part),
        expected=f"no folder {part.camera}/sX/micro/<emotion>/sX_ne_01 with frames at any depth; "
        f"unpack SMIC_all_raw/{part.camera} or SMIC_all_cropped/{part.camera} here",
    )  # fmt: skip
    clips, faults, left_out = [], [], Counter[str]()
    for (_, name), folder in sorted(found.of.items()):
        clip, wrong, emotion = clip_of(part, name, folder, class_map)
        clips += [clip] if clip else []
        faults += [f"{folder}: {fault}" for fault in wrong]
        left_out += Counter([] if clip or wrong else [emotion])
    version, told = against_sheet(part, root, found)
    notes = outside(left_out)
    notes += [
        f"{clip.key}: its frames are not numbered in one run ({runs(numbers)})"
        for clip in clips
        if len(numbers := sorted(numbered(clip.frames[0].parent)[0]))
        != numbers[-1] - numbers[0] + 1
    ]
    if len(found.of) != part.clips:
        notes.append(f"{len(found.of)} clips; a full copy of {part.title} has {part.clips}")
    return DataSet(
        reader=part.dataset if part.dataset != "smic" else "smic-hs",
        version=version,
        classes=class_map.names,
        clips=tuple(sorted(clips, key=lambda clip: clip.key)),
        faults=(*faults, *told),
        notes=tuple(notes),
        boundaries="annotated",
    )


def read_hs(root: Path, *, classes: Classes | None = None) -> DataSet:
    """The high-speed camera, see `read`."""
    return read(PARTS["hs"], root, classes=classes)


def read_vis(root: Path, *, classes: Classes | None = None) -> DataSet:
    """The visual camera, see `read`."""
    return read(PARTS["vis"], root, classes=classes)


def read_nir(root: Path, *, classes: Classes | None = None) -> DataSet:
    """The near-infrared camera, see `read`."""
    return read(PARTS["nir"], root, classes=classes)


def others(part: Part) -> frozenset[str]:
    """Folders of the other cameras, and of clips without an expression."""
    cameras = {each.camera.lower() for each in PARTS.values()} - {part.camera.lower()}
    return frozenset({*cameras, "non_micro", "non-micro"})


def place_of(match: re.Match[str]) -> folders.Place:
    """Subject and clip, padded; the clip's own name tells whose it is."""
    subject = f"s{int(match['subject']):02d}"
    return subject, f"s{int(match['own']):02d}_{match['code']}_{int(match['take']):02d}"


def clip_of(
    part: Part, name: str, folder: Path, class_map: ClassMap
) -> tuple[Clip | None, list[str], str]:
    """The clip of one folder; or what is wrong with it; its emotion."""
    match = FOLDER.search(folders.end_of(folder))
    if match is None:  # pragma: no cover - `found` holds matches only
        raise AssertionError(folder)
    subject, emotion = f"s{int(match['subject']):02d}", CODES[match["code"]]
    label = class_map.label(part.dataset, subject, name, emotion)
    if label is None:
        return None, [], emotion
    wrong = []
    if match["emotion"] != emotion:
        wrong.append(f"its name says {emotion}, its folder {match['emotion']}; mend one of them")
    if int(match["own"]) != int(match["subject"]):
        wrong.append(f"its name is not of subject {subject}; move it or rename it")
    frames, doubled = numbered(folder)
    chosen = tuple(frames[number] for number in sorted(frames))
    wrong += doubled + broken(chosen)
    if not chosen:
        wrong.append("holds no numbered images; complete the copy")
    if wrong:
        return None, wrong, emotion
    return Clip(part.dataset, subject, name, label, 0, None, len(chosen) - 1, chosen), [], emotion


def against_sheet(part: Part, root: Path, found: folders.Folders) -> tuple[str, list[str]]:
    """The annotation's version, and where spreadsheet and folders disagree."""
    candidates = [
        path
        for path in spreadsheet.found_at(root, part.form)
        if spreadsheet.squeeze(path.name).startswith(part.form.prefix)
    ]
    if not candidates:
        return "folders", []
    path = candidates[0]
    return path.stem, list(disagreements(path, part, found))


def disagreements(path: Path, part: Part, found: folders.Folders) -> Iterator[str]:
    """Clips of the spreadsheet that have no folder, or another emotion."""
    for number, cells in spreadsheet.read(path, part.form).rows:
        if not (cells["subject"] and cells["name"]):
            continue  # totals stand below the table
        where = f"{path.name} row {number}"
        subject = padded(cells["subject"], "s", 2)
        name = re.sub(r"\d+", lambda digits: f"{int(digits[0]):02d}", cells["name"].lower())
        if (subject, name) not in found.of:
            yield f"{where} ({subject}/{name}): no folder with its frames; complete the copy"
            continue
        said, code = tidy(cells["emotion"]), name.split("_")[1]
        if said in EMOTIONS and said != CODES.get(code):
            yield (
                f"{where} ({subject}/{name}): says {said}, the clip's name {CODES.get(code)}; "
                "mend one of them"
            )
