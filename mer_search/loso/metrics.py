"""Pooled scores of predictions: UF1, UAR, accuracy. Never a mean of per-fold scores.

Counts are summed over all folds first, then scored once: the mean of per-fold F1 is another
number. A class without any clip counts 0 in UF1 and UAR; it is not dropped, because a score over
fewer classes than the data set has would look better than it is.

Letters: N clips, S subjects, M trials, C classes, "..." any leading axes (trials, resamples).
Sources: See et al. 2019 (MEGC 2019), doi 10.1109/FG.2019.8756611: UF1 and UAR.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer_search.errors import InputError, MerSearchError

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]
Tally = Callable[[ArrayLike, ArrayLike, ArrayLike], Floats]


def _ratio(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """top / bottom, and 0 where bottom is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(top, float), np.asarray(bottom, float))
    out = np.zeros(top.shape)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


def _class_mean(values: Floats) -> Floats:
    return np.asarray(values.mean(-1), float)


def uf1_of(hits: ArrayLike, predicted: ArrayLike, true: ArrayLike) -> Floats:
    """Unweighted F1: mean over classes of 2 TP / (2 TP + FP + FN) = 2 TP / (predicted + true).

    Args:
        hits, predicted, true: per class, how many clips are true positives, are predicted as it,
            and belong to it [..., C].

    Returns:
        [...]
    """
    total = np.asarray(predicted, float) + np.asarray(true, float)
    return _class_mean(_ratio(2.0 * np.asarray(hits, float), total))


def uar_of(hits: ArrayLike, predicted: ArrayLike, true: ArrayLike) -> Floats:
    """Unweighted average recall: mean over classes of TP / n. Shapes as `uf1_of`."""
    return _class_mean(_ratio(hits, true))


def accuracy_of(hits: ArrayLike, predicted: ArrayLike, true: ArrayLike) -> Floats:
    """Share of clips that are right. Shapes as `uf1_of`."""
    return _ratio(np.asarray(hits, float).sum(-1), np.asarray(true, float).sum(-1))


TALLIES: dict[str, Tally] = {"uf1": uf1_of, "uar": uar_of, "accuracy": accuracy_of}
"""The objectives as functions of (true positives, predicted, true) per class [..., C]."""


def confusion(truth: Integers, predicted: Integers, classes: int) -> NDArray[np.int64]:
    """Counts with truth by row and prediction by column.

    Args:
        truth: class indices [N] (or [..., N]).
        predicted: class indices [..., N].
        classes: C.

    Returns:
        [..., C, C]
    """
    truth, predicted = np.broadcast_arrays(truth, predicted)
    lead = truth.shape[:-1]
    cells = int(np.prod(lead))
    start = np.arange(cells).reshape(*lead, 1) * classes**2
    flat = (start + truth * classes + predicted).ravel()
    return np.bincount(flat, minlength=cells * classes**2).reshape(*lead, classes, classes)


def _tallied(counts: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """(true positives, predicted, true) per class [..., C] of counts [..., C, C]."""
    table = np.asarray(counts, float)
    return np.diagonal(table, axis1=-2, axis2=-1), table.sum(-2), table.sum(-1)


def uf1(counts: ArrayLike) -> Floats:
    """UF1 of pooled counts [..., C, C] (truth by row); see `uf1_of`."""
    return uf1_of(*_tallied(counts))


def uar(counts: ArrayLike) -> Floats:
    """UAR of pooled counts [..., C, C] (truth by row); see `uar_of`."""
    return uar_of(*_tallied(counts))


def accuracy(counts: ArrayLike) -> Floats:
    """Accuracy of pooled counts [..., C, C] (truth by row)."""
    return accuracy_of(*_tallied(counts))


OBJECTIVES: dict[str, Callable[[ArrayLike], Floats]] = {
    "uf1": uf1,
    "uar": uar,
    "accuracy": accuracy,
}
"""What a search may maximise, as functions of pooled counts [..., C, C]."""


def scores(probs: NDArray[np.floating[Any]], label: Integers) -> dict[str, float]:
    """Every pooled score of one trial.

    Args:
        probs: each clip scored by the model that never saw its subject [N, C].
        label: class indices [N].

    Raises:
        MerSearchError: a probability is not a number (argmax would pick it as the largest).
    """
    bad = int(np.isnan(probs).any(-1).sum())
    if bad:
        raise MerSearchError(f"{bad} of {len(probs)} clips have probabilities that are not numbers")
    counts = confusion(label, probs.argmax(-1), probs.shape[-1])
    return {name: float(score(counts)) for name, score in OBJECTIVES.items()}


def chance_uf1(class_shares: ArrayLike, predicted_shares: ArrayLike) -> float:
    """UF1 of predictions that know nothing: mean over classes of 2 p q / (p + q).

    Args:
        class_shares: p, the share of clips of each class [C].
        predicted_shares: q, the share of predictions of each class [C].
    """
    p, q = np.asarray(class_shares, float), np.asarray(predicted_shares, float)
    return float(_ratio(2.0 * p * q, p + q).mean())


@dataclass(frozen=True)
class SubjectCounts:
    """Predictions of M trials on the same clips, counted per subject and class.

    Attributes:
        hits: true positives [M, S, C].
        predicted: clips predicted as the class [M, S, C].
        true: clips of the class [S, C].
    """

    hits: Floats
    predicted: Floats
    true: Floats

    @property
    def trials(self) -> int:
        return len(self.hits)

    @property
    def subjects(self) -> int:
        return len(self.true)

    def pooled(self, shares: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """(hits, predicted, true) [C], each trial's counts of each subject times shares [M, S]."""
        weight = np.asarray(shares, float)
        hits, predicted = (
            np.tensordot(weight, each, axes=2) for each in (self.hits, self.predicted)
        )
        return hits, predicted, weight.sum(0) @ self.true


def count_by_subject(
    predicted: Integers, label: Integers, subject: Integers, *, classes: int
) -> SubjectCounts:
    """Counts that every estimate here starts from.

    Args:
        predicted: class that each trial predicts for each clip [M, N].
        label: class index [N].
        subject: subject index [N]; any integers, one per (dataset, subject).
        classes: C.

    Raises:
        InputError: no trial, fewer than two subjects, or shapes that do not fit.
    """
    predicted = np.asarray(predicted)
    if predicted.ndim != 2 or predicted.shape[1:] != label.shape or label.shape != subject.shape:
        shapes = f"predictions {predicted.shape}, labels {label.shape}, subjects {subject.shape}"
        raise InputError("estimate", f"{shapes} do not fit; give [M, N], [N] and [N]")
    names, who = np.unique(subject, return_inverse=True)
    if len(predicted) < 1 or len(names) < 2:
        raise InputError(
            "estimate",
            f"{len(predicted)} finished trials on {len(names)} subjects; an estimate needs at "
            "least 1 trial and 2 subjects",
        )
    shape = (len(predicted), len(names), classes)
    cell = np.arange(len(predicted))[:, None] * len(names) * classes + who * classes
    size = int(np.prod(shape))
    right = (predicted == label).astype(float).ravel()
    hits = np.bincount((cell + label).ravel(), right, size).astype(float)
    guesses = np.bincount((cell + predicted).ravel(), minlength=size)
    true = np.bincount(who * classes + label, minlength=len(names) * classes)
    return SubjectCounts(
        hits.reshape(shape),
        guesses.reshape(shape).astype(float),
        true.reshape(shape[1:]).astype(float),
    )
