"""CASME II as its owners ship it.

    ROOT/**/CASME2-coding-20140508.xlsx (or -20190701)
    ROOT/**/subXX/<Filename>/[reg_]imgN.jpg     N counts frames of the recording, not padded

Raw, selected and cropped archives differ in the names above `subXX` only. Two codings are about,
told apart by the date in the file's name: 2014-05-08, and 2019-07-01 which adds `Objective Classes`
and calls three clips of sub24 surprise instead of sadness.
"""

from __future__ import annotations

import re
from pathlib import Path

from mer_search.datasets import annotated
from mer_search.datasets.classes import Classes
from mer_search.datasets.clips import DataSet
from mer_search.datasets.layout import Layout, padded
from mer_search.datasets.spreadsheet import Column, Form, Table

EMOTIONS = ("others", "disgust", "happiness", "repression", "surprise", "sadness", "fear")


def version(table: Table) -> str:
    """The coding's date from the file's name; of a renamed file, from its columns."""
    date = re.search(r"(20\d\d)-?(\d\d)-?(\d\d)", table.path.name)
    if date:
        return "-".join(date.groups())
    return "2019-07-01" if "objective" in table.fields else "2014-05-08"


LAYOUT = Layout(
    dataset="casme2",
    form=Form(
        title="CASME II",
        files=("CASME2-coding-20140508.xlsx", "CASME2-coding-20190701.xlsx"),
        prefix="casme2coding",
        sheet="Sheet1",
        columns={
            "subject": Column("Subject"),
            "name": Column("Filename", ("File name", "Clip")),
            "onset": Column("OnsetFrame", ("Onset",)),
            "apex": Column("ApexFrame", ("Apex", "ApexFrame1")),
            "offset": Column("OffsetFrame", ("Offset",)),
            "emotion": Column("Estimated Emotion", ("Emotion",)),
            "units": Column("Action Units", ("AU", "AUs"), needed=False),
            "objective": Column("Objective Classes", ("Objective Class",), needed=False),
        },
    ),
    emotions=EMOTIONS,
    spellings={"other": "others"},
    classes="casme2-5",
    folder=re.compile(r"/sub_?0*(\d{1,9})/([^/]+)$"),
    place=lambda match: (f"sub{int(match[1]):02d}", match[2]),
    expected="no folder subXX/<clip> with frames at any depth; unpack CASME2_RAW_selected, "
    "CASME2-RAW or Cropped here",
    subject=lambda cells: padded(cells["subject"], "sub", 2),
    name=lambda cells: cells["name"],
    version=version,
)


def read(root: Path, *, classes: Classes | None = None) -> DataSet:
    """Reads a copy of CASME II, by default with the classes "casme2-5".

    Raises:
        InputError: see `annotated.read`.
    """
    return annotated.read(LAYOUT, root, classes=classes)
