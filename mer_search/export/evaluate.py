"""An exported model on another data set. Not for clips that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_search.datasets import DataSet
from mer_search.errors import InputError
from mer_search.export.model import ExportedModel
from mer_search.features.frames import read_frames
from mer_search.loso.metrics import OBJECTIVES, confusion


def evaluate(model: ExportedModel, dataset: DataSet) -> dict[str, Any]:
    """Scores over all clips: clips, uf1, uar, accuracy, per_class, and confusion [C, C] with truth
    by row; `per_subject` clip by clip; in `notes` what keeps them from being an estimate.

    Raises:
        InputError: classes that are not the model's, or clips that cannot be labelled, all named.
    """
    if set(dataset.classes) != set(model.classes):
        raise InputError(
            "evaluate",
            f"the data set's classes {', '.join(dataset.classes)} are not the model's, "
            f"{', '.join(model.classes)}; map them with --classes",
        )
    truth = np.array([model.classes.index(clip.label) for clip in dataset.clips], np.int64)
    given = _labels(model, dataset)
    counts = confusion(truth, given, len(model.classes))
    return {
        "clips": len(truth),
        "classes": list(model.classes),
        **{name: float(score(counts)) for name, score in OBJECTIVES.items()},
        "per_class": {name: _of_class(counts, c) for c, name in enumerate(model.classes)},
        "per_subject": _by_subject(model, dataset, truth, given),
        "confusion": counts.tolist(),
        "notes": _notes(model, dataset),
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `evaluate` found, as text."""
    scores = ", ".join(f"{name} {found[name]:.4f}" for name in OBJECTIVES)
    yield f"{found['clips']} clips pooled: {scores}"
    wide = max(map(len, ["subject", *found["per_class"], *found["per_subject"]]))
    yield f"{'class':<{wide}} clips  recall      f1   predicted as"
    for name, row, counts in zip(
        found["classes"], found["per_class"].values(), found["confusion"], strict=True
    ):
        told = ", ".join(f"{n} {c}" for n, c in zip(found["classes"], counts, strict=True) if c)
        yield f"{name:<{wide}} {row['clips']:>5} {row['recall']:>7.3f} {row['f1']:>7.3f}   {told}"
    yield f"{'subject':<{wide}} clips   right accuracy"
    for name, row in found["per_subject"].items():
        seen = "  trained on" if row["seen"] else ""
        yield f"{name:<{wide}} {row['clips']:>5} {row['right']:>7} {row['accuracy']:>8.3f}{seen}"
    for note in found["notes"]:
        yield f"note: {note}"


def _labels(model: ExportedModel, dataset: DataSet) -> NDArray[np.int64]:
    """The class index that the model gives each clip [N]."""
    labels, faults = [], []
    for clip in dataset.clips:
        try:
            frames = read_frames(clip.frames)
            found = model.predict_frames(frames, onset=clip.onset or 0, apex=clip.apex)
            labels.append(model.classes.index(found.label))
        except InputError as fault:
            faults += [f"{clip.key}: {each}" for each in fault.faults]
    if faults:
        raise InputError("evaluate", faults)
    return np.array(labels, np.int64)


def _of_class(counts: NDArray[np.int64], c: int) -> dict[str, float]:
    """Clips, recall and F1 of one class; 0 where it has no clips."""
    hits, true, predicted = int(counts[c, c]), int(counts[c].sum()), int(counts[:, c].sum())
    return {
        "clips": true,
        "recall": hits / max(true, 1),
        "f1": 2 * hits / max(true + predicted, 1),
    }


def _by_subject(
    model: ExportedModel, dataset: DataSet, truth: NDArray[np.int64], given: NDArray[np.int64]
) -> dict[str, dict[str, Any]]:
    """Clips, hits, accuracy and confusion of each `dataset/subject`, in the data set's order.

    No UF1: a subject without a class would count 0 for it.
    """
    rows: dict[str, list[int]] = {}
    for place, clip in enumerate(dataset.clips):
        rows.setdefault(f"{clip.dataset}/{clip.subject}", []).append(place)
    found = {}
    for subject, places in rows.items():
        counts = confusion(truth[places], given[places], len(model.classes))
        right = int(counts.trace())
        found[subject] = {"clips": len(places), "right": right, "accuracy": right / len(places),
                          "confusion": counts.tolist(),
                          "seen": subject in model.settings["data"]["subjects"]}  # fmt: skip
    return found


def _notes(model: ExportedModel, dataset: DataSet) -> Sequence[str]:
    notes = [
        f"no clip is {name}: it counts 0 in uf1 and uar"
        for name, count in dataset.counts.items()
        if not count
    ]
    trained = set(model.settings["data"]["subjects"])
    seen = sum(f"{clip.dataset}/{clip.subject}" in trained for clip in dataset.clips)
    if seen:
        notes.append(
            f"{seen} of {len(dataset.clips)} clips are of subjects that the model was trained on: "
            "these scores say nothing about new subjects"
        )
    return notes
