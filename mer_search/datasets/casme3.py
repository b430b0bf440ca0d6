"""Part A of CAS(ME)^3 as its owners ship it.

    ROOT/**/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx
    ROOT/**/<Subject>/<Filename>/color/N.jpg            whole recordings, or
    ROOT/**/frame/<Subject>_<Filename>_<Onset>/N.jpg    one folder per expression

One recording shows several expressions, so a clip's name is `<Filename>_<Onset>`. Depth maps are
not read.
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


def stands(cells: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The folder of one expression, or of its whole recording."""
    return (name, cells["name"])


LAYOUT = Layout(
    dataset="casme3",
    form=Form(
        title="CAS(ME)^3 part A",
        files=("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",),
        prefix="casme3partame",
        columns={
            "subject": Column("Subject"),
            "name": Column("Filename", ("File name",)),
            "onset": Column("Onset", ("OnsetFrame", "Onset Frame")),
            "apex": Column("Apex", ("ApexFrame", "Apex Frame")),
            "offset": Column("Offset", ("OffsetFrame", "Offset Frame")),
            "emotion": Column("emotion", ("Estimated Emotion",)),
            "units": Column("AU", ("AUs", "Action Units"), needed=False),
            "objective": Column("Objective class", ("Objective Classes",), needed=False),
        },
    ),
    emotions=EMOTIONS,
    spellings={"happy": "happiness", "sad": "sadness", "other": "others"},
    classes="casme3-7",
    folder=re.compile(
        r"/sp_?no\.?0*(?P<s>\d{1,6})(?:/(?P<whole>[^/]+)/color|_(?P<one>[^/_]+_\d{1,9}))$"
    ),
    place=lambda match: (f"spNO.{int(match['s'])}", match["whole"] or match["one"]),
    expected="no folder spNO.X/<clip>/color or frame/spNO.X_<clip>_<onset> at any depth; unpack "
    "part_A or Part_A_ME_clip here",
    subject=lambda cells: padded(cells["subject"], "spNO.", 1),
    name=lambda cells: f"{cells['name']}_{cells['onset']}",
    stands=stands,
    version=file_version,
    skip=frozenset({"depth", "video"}),
)


def read(root: Path, *, classes: Classes | None = None) -> DataSet:
    """Reads a copy of CAS(ME)^3 part A, by default with the classes "casme3-7".

    Raises:
        InputError: see `annotated.read`.
    """
    return annotated.read(LAYOUT, root, classes=classes)
