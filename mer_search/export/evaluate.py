"""An exported model on a data set it was not trained on."""

from __future__ import annotations

from typing import Any

import numpy as np

from mer_search.datasets import DataSet
from mer_search.errors import InputError
from mer_search.export.model import ExportedModel
from mer_search.features.frames import read_frames
from mer_search.loso.metrics import OBJECTIVES, confusion


def evaluate(model: ExportedModel, dataset: DataSet) -> dict[str, Any]:
    """Scores over all clips: clips, uf1, uar, accuracy, and confusion with truth by row.

    Raises:
        InputError: classes that the model does not know, or clips that cannot be read.
    """
    unknown = sorted(set(dataset.classes) - set(model.classes))
    if unknown:
        raise InputError(
            "evaluate",
            f"the data set's classes {', '.join(unknown)} are not the model's "
            f"({', '.join(model.classes)}); map them with --classes",
        )
    truth, guesses, faults = [], [], []
    for clip in dataset.clips:
        try:
            found = model.predict_frames(
                read_frames(clip.frames), onset=clip.onset or 0, apex=clip.apex
            )
        except InputError as fault:
            faults.append(f"{clip.key}: {'; '.join(fault.faults)}")
            continue
        truth.append(model.classes.index(clip.label))
        guesses.append(model.classes.index(found.label))
    if faults:
        raise InputError("evaluate", faults)
    counts = confusion(np.array(truth), np.array(guesses), len(model.classes))
    return {
        "clips": len(truth),
        "classes": list(model.classes),
        **{name: float(score(counts)) for name, score in OBJECTIVES.items()},
        "confusion": counts.tolist(),
    }
