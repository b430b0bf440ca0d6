"""Still pictures of one trial for its run: what it confused, and how its score settled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from mer_search.loso.metrics import OBJECTIVES, confusion
from mer_search.loso.result import LosoResult

MARKS = ("o", "s", "^")


def pictures(result: LosoResult) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each picture of a trial that has predicted something."""
    if result.blocks:
        yield "confusion.png", confusion_picture(result)
        yield "curve.png", curve_picture(result)


def confusion_picture(result: LosoResult) -> Figure:
    """Confusion matrix pooled over the folds that are done, counts in the cells."""
    protocol, classes = result.protocol, result.protocol.classes
    known = ~np.isnan(result.probs[:, 0])
    counts = confusion(protocol.label[known], result.probs[known].argmax(1), len(classes))
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
    axes.set_title(_title(result, "pooled"), fontsize=10)
    return figure


def curve_picture(result: LosoResult) -> Figure:
    """Pooled scores after each block of folds."""
    points = result.curve()
    folds = [done for done, _, _ in points]
    figure = Figure(figsize=(5.5, 3.6), layout="tight")
    axes = figure.subplots()
    for mark, name in zip(MARKS, OBJECTIVES, strict=True):
        values = [scores[name] for _, scores, _ in points]
        axes.plot(folds, values, marker=mark, label=name)
    axes.set_xlim(0, len(result.protocol.folds) + 0.5)
    axes.set_ylim(0, 1)
    axes.set_xlabel("folds done")
    axes.set_ylabel("pooled over the folds so far")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    axes.set_title(_title(result, "block by block"), fontsize=10)
    return figure


def _title(result: LosoResult, what: str) -> str:
    done, folds = result.folds_done, len(result.protocol.folds)
    spread = "all folds" if done == folds else f"{done} of {folds} folds"
    return f"trial {result.record.number}, {spread} {what} (selected)"
