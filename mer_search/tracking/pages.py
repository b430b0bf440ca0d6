"""What a run shows in MLflow besides numbers: predictions, a description, a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from mlflow.entities import Param

from mer_search.loso.metrics import confusion
from mer_search.loso.result import LosoResult, Protocol


def predictions(result: LosoResult) -> str:
    """CSV: clip, truth, prediction, and the probability of each class."""
    protocol, text = result.protocol, io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["clip", "truth", "prediction", *protocol.classes])
    for key, label, probs in zip(protocol.keys, protocol.label, result.probs, strict=True):
        told = [f"{p:.6f}" for p in probs]
        rows.writerow([key, protocol.classes[label], protocol.classes[probs.argmax()], *told])
    return text.getvalue()


def parameters(file: Mapping[str, Any], protocol: Protocol) -> list[Param]:
    """What all trials of the search share."""
    record = file.get("record", {})
    told = {
        "clips": len(protocol.keys),
        "subjects": len(set(protocol.subject)),
        "classes": ", ".join(protocol.classes),
        "folds": file["evaluation"]["folds"],
        "objective": file["evaluation"]["objective"],
        "sampler": file["search"]["sampler"],
        "seed": file["search"]["seed"],
        "racing": file["search"]["racing"]["rule"],
        "reader": file["data"]["reader"],
        "data_digest": str(record.get("data", ""))[:16],
        "keyframes": ", ".join(f"{k} {v}" for k, v in record.get("keyframes", {}).items()),
    }
    return [Param(key, str(value)) for key, value in told.items()]


def weights_tag(file: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, str]:
    """`mer.weights: random` where the face network of these parameters is not a trained one."""
    fixed = file["features"]["backbone"]
    name, weights = (
        params.get(f"features.backbone.{leaf}", fixed[leaf]) for leaf in ("name", "weights")
    )
    return {"mer.weights": "random"} if weights == "random" and name != "patches" else {}


def note(
    file: Mapping[str, Any],
    protocol: Protocol,
    ended: Sequence[LosoResult],
    best: LosoResult | None,
) -> str:
    """The description of the search in Markdown."""
    objective, name = file["evaluation"]["objective"], file["name"]
    finished = sum(result.complete for result in ended)
    lines = [
        f"Search **{name}**: {len(protocol.keys)} clips of {len(set(protocol.subject))} subjects, "
        f"{file['evaluation']['folds']}, {len(protocol.folds)} folds, {len(protocol.classes)} "
        "classes. One child run per trial.",
        f"{len(ended)} trials ended, {finished} with all folds.",
    ]
    if best:
        scores = ", ".join(f"{key} {value:.3f}" for key, value in best.scores.items())
        lines.append(
            f"Best so far by {objective}: trial {best.record.number} ({scores}). "
            "**Selected, optimistic**: this score chose the trial. What it is worth: "
            f"`mer-search compare {name}`."
        )
    lines.append("`so_far.*` are pooled scores after each block of folds; `uf1`, `uar`, `accuracy` "
                 "are there only where all folds are done.")  # fmt: skip
    return "\n\n".join(lines)


def confusion_picture(result: LosoResult) -> Figure:
    """Pooled confusion matrix of a complete trial, counts in the cells."""
    protocol, classes = result.protocol, result.protocol.classes
    counts = confusion(protocol.label, result.probs.argmax(1), len(classes))
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    figure = Figure(figsize=(1.6 + 0.9 * len(classes), 1.4 + 0.8 * len(classes)), layout="tight")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for truth, row in enumerate(counts):
        for guess, count in enumerate(row):
            colour = "white" if shares[truth, guess] > 0.55 else "black"
            axes.text(guess, truth, str(count), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"trial {result.record.number}, all folds pooled (selected)", fontsize=10)
    return figure
