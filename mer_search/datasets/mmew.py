"""MMEW's micro-expressions as their owners ship them.

    ROOT/**/MMEW_Micro_Exp.xlsx
    ROOT/**/Micro_Expression/<emotion>/<Filename>/N.jpg

A clip is named `S01-07-001`: subject, emotion, sample. The subject is taken from there, since that
is what the folders have and sheets number subjects in several ways.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mer_search.datasets import annotated
from mer_search.datasets.classes import Classes
from mer_search.datasets.clips import DataSet
from mer_search.datasets.layout import Layout, file_version, padded
from mer_search.datasets.spreadsheet import Column, Form

EMOTIONS = ("anger", "disgust", "fear", "happiness", "others", "sadness", "surprise")


def subject(cells: Mapping[str, str]) -> str:
    """`S01` of `S01-07-001`; of another name, what the column says."""
    own = re.match(r"s?0*(\d{1,6})-", cells["name"], re.IGNORECASE | re.ASCII)
    return f"S{int(own[1]):02d}" if own else padded(cells["subject"], "S", 2)


def clip_name(cells: Mapping[str, str]) -> str:
    """`1-07-001` -> `S01-07-001`."""
    _, mark, rest = cells["name"].partition("-")
    return f"{subject(cells)}{mark}{rest}" if mark else cells["name"]


LAYOUT = Layout(
    dataset="mmew",
    form=Form(
        title="MMEW",
        files=("MMEW_Micro_Exp.xlsx",),
        prefix="mmewmicro",
        columns={
            "subject": Column("Subject"),
            "name": Column("Filename", ("File name",)),
            "onset": Column("OnsetFrame", ("Onset",)),
            "apex": Column("ApexFrame", ("Apex",)),
            "offset": Column("OffsetFrame", ("Offset",)),
            "emotion": Column("Estimated Emotion", ("Emotion",)),
            "units": Column("Action Units", ("AU", "AUs"), needed=False),
        },
    ),
    emotions=EMOTIONS,
    spellings={"other": "others", "happy": "happiness", "sad": "sadness"},
    classes="mmew-6",
    folder=re.compile(r"/s?0*(\d{1,6})-(\d{1,3}-\d{1,4})$"),
    place=lambda match: (f"S{int(match[1]):02d}", f"s{int(match[1]):02d}-{match[2]}"),
    expected="no folder <emotion>/SXX-YY-ZZZ with frames at any depth; unpack Micro_Expression "
    "here",
    subject=subject,
    name=clip_name,
    version=file_version,
    skip=frozenset({"macro_expression"}),
)


def read(root: Path, *, classes: Classes | None = None) -> DataSet:
    """Reads a copy of MMEW, by default with the classes "mmew-6".

    Raises:
        InputError: see `annotated.read`.
    """
    return annotated.read(LAYOUT, root, classes=classes)
