"""4DME's micro-expressions (the two-dimensional gray video) as their owners ship them.

ROOT/**/4DME_Labelling_Micro_release v1.xlsx
ROOT/**/gray_micro/<sub_ID>/<fold_name>/N.jpg
"""

from __future__ import annotations

import re
from pathlib import Path

from mer_search.datasets import annotated
from mer_search.datasets.classes import Classes
from mer_search.datasets.clips import DataSet
from mer_search.datasets.layout import Layout, file_version, padded
from mer_search.datasets.spreadsheet import Column, Form

EMOTIONS = ("negative", "others", "positive", "repression", "surprise")

LAYOUT = Layout(
    dataset="4dme",
    form=Form(
        title="4DME",
        files=("4DME_Labelling_Micro_release v1.xlsx",),
        prefix="4dmelabellingmicro",
        columns={
            "subject": Column("sub_ID", ("Subject", "sub")),
            "name": Column("fold_name", ("Filename", "folder_name")),
            "onset": Column("Onset", ("OnsetFrame",)),
            "apex": Column("Apex", ("ApexFrame",)),
            "offset": Column("Offset", ("OffsetFrame",)),
            "emotion": Column("Emotion", ("Estimated Emotion",)),
            "units": Column("AUs", ("AU", "Action Units"), needed=False),
        },
    ),
    emotions=EMOTIONS,
    spellings={"other": "others"},
    classes="4dme-5",
    folder=re.compile(r"/([^/]+)/([^/]+)$"),
    place=lambda match: (padded(match[1], "", 2), match[2]),
    expected="no folder gray_micro/<sub_ID>/<fold_name> with frames; unpack gray_micro here",
    subject=lambda cells: padded(cells["subject"], "", 2),
    name=lambda cells: cells["name"],
    version=file_version,
)


def read(root: Path, *, classes: Classes | None = None) -> DataSet:
    """Reads a copy of 4DME, by default with the classes "4dme-5".

    Raises:
        InputError: see `annotated.read`.
    """
    return annotated.read(LAYOUT, root, classes=classes)
