"""SAMM's micro-movements as their owners ship them.

    ROOT/**/SAMM_Micro_FACS_Codes_v2.xlsx, sheet MICRO_ONLY, the header in row 14
    ROOT/**/<SSS>/<SSS_x_y>/SSS_NNNNN.jpg      N counts frames of the recording

Grayscale, 200 frames per second. The subject is the first number of the clip's name, so the folder
above the clips may be missing, and both may lack their zeros. Two apexes are repaired, see
`corrections.csv`.
"""

from __future__ import annotations

import re
from pathlib import Path

from mer_search.datasets import annotated
from mer_search.datasets.classes import Classes
from mer_search.datasets.clips import DataSet
from mer_search.datasets.layout import Layout, file_version, padded
from mer_search.datasets.spreadsheet import Column, Form

EMOTIONS = ("anger", "contempt", "disgust", "fear", "happiness", "others", "sadness", "surprise")


def clip_name(name: str) -> str:
    """`6_1_2` -> `006_1_2`."""
    first, mark, rest = name.partition("_")
    return f"{padded(first, '', 3)}{mark}{rest}"


LAYOUT = Layout(
    dataset="samm",
    form=Form(
        title="SAMM",
        files=("SAMM_Micro_FACS_Codes_v2.xlsx",),
        prefix="samm",
        sheet="MICRO_ONLY",
        columns={
            "subject": Column("Subject"),
            "name": Column("Filename", ("File name", "Clip")),
            "onset": Column("Onset Frame", ("Onset",)),
            "apex": Column("Apex Frame", ("Apex",)),
            "offset": Column("Offset Frame", ("Offset",)),
            "emotion": Column("Estimated Emotion", ("Emotion",)),
            "units": Column("Action Units", ("AU", "AUs"), needed=False),
            "objective": Column("Objective Classes", ("Objective Class",), needed=False),
        },
    ),
    emotions=EMOTIONS,
    spellings={"other": "others"},
    classes="samm-5",
    folder=re.compile(r"/0*(\d{1,4})_(\d{1,3}_\d{1,3})$"),
    place=lambda match: (f"{int(match[1]):03d}", f"{int(match[1]):03d}_{match[2]}"),
    expected="no folder <SSS>/<SSS_x_y> with frames at any depth; unpack SAMM here",
    subject=lambda cells: padded(cells["subject"], "", 3),
    name=lambda cells: clip_name(cells["name"]),
    version=file_version,
)


def read(root: Path, *, classes: Classes | None = None) -> DataSet:
    """Reads a copy of SAMM, by default with the classes "samm-5".

    Raises:
        InputError: see `annotated.read`.
    """
    return annotated.read(LAYOUT, root, classes=classes)
