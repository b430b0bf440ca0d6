"""How far selected, corrected and leave-one-subject-out-selected scores are from the truth.

Simulates searches whose trials have a known, correlated worth, corrects each, and prints bias and
coverage against the number of trials. About 4 minutes on two cores:

    python benchmarks/estimates.py --searches 300 --picture docs/images/honest-numbers.png

Letters: N clips, S subjects, M trials, C classes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_search.loso.estimates import correct
from mer_search.loso.metrics import confusion, count_by_subject, uf1

SHARES = {3: (0.57, 0.25, 0.18), 5: (0.40, 0.26, 0.13, 0.11, 0.10)}
"""Class shares of the MEGC2019 composite and of CASME II with five classes."""
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """Where simulated searches come from.

    Attributes:
        worth, spread: mean and standard deviation of the trials' logit margins; the worth of a
            trial decides its expected score.
        shared: share of the noise variance that all trials have in common (hard subjects and
            clips are hard for every trial), which correlates their scores.
    """

    subjects: int
    classes: int
    clips: int
    worth: float
    spread: float
    shared: float = 0.6


WORLDS = {
    "68 subjects, 3 classes": World(68, 3, 442, 1.3, 0.12),
    "24 subjects, 5 classes": World(24, 5, 246, 0.9, 0.12),
    "68 subjects, 3 classes, null": World(68, 3, 442, 0.0, 0.0),
    "24 subjects, 5 classes, null": World(24, 5, 246, 0.0, 0.0),
}


def draw_people(world: World, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Labels [N] and subjects [N] of unequal subjects, each with its own mix of classes."""
    shares = np.array(SHARES[world.classes])
    size = 1 + rng.multinomial(
        world.clips - world.subjects, rng.dirichlet(np.full(world.subjects, 1.2))
    )
    subject = np.repeat(np.arange(world.subjects), size)
    mix = rng.dirichlet(4.0 * shares, world.subjects)[subject].cumsum(1)
    label = (rng.random((world.clips, 1)) > mix[:, :-1]).sum(1)
    return label, subject


def draw_predictions(
    world: World, worths: Floats, label: Integers, subject: Integers, rng: np.random.Generator
) -> Integers:
    """What trials of these worths [M] predict [M, N]: the largest of noisy logits.

    Half of the noise variance belongs to the subject, half to the clip.
    """

    def noise(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal((*shape, world.classes), np.float32)

    own, common = np.sqrt([(1 - world.shared) / 2, world.shared / 2]).astype(np.float32)
    logits = own * noise(len(worths), len(label))
    logits += common * (noise(len(label)) + noise(world.subjects)[subject])
    logits += own * noise(len(worths), world.subjects)[:, subject]
    logits[:, np.arange(len(label)), label] += worths[:, None].astype(np.float32)
    return logits.argmax(-1)


def truth(world: World, samples: int = 1500, seed: int = 1) -> Callable[[Any], Any]:
    """Expected UF1 on a fresh sample of this size as a function of worth."""
    rng = np.random.default_rng(seed)
    reach = 4.5 * world.spread + 0.1
    grid = np.linspace(world.worth - reach, world.worth + reach, 9)
    total = np.zeros(len(grid))
    for _ in range(samples):
        label, subject = draw_people(world, rng)
        predicted = draw_predictions(world, grid, label, subject, rng)
        total += uf1(confusion(label, predicted, world.classes))
    return np.polynomial.Polynomial.fit(grid, total / samples, 3)


@dataclass(frozen=True)
class Outcome:
    """Errors of the three numbers of one search, and whether the two intervals covered."""

    selected: float
    corrected: float
    left_out: float
    covered: bool
    selected_covered: bool


def one_search(
    world: World, trials: int, expected: Callable[[Any], Any], seed: int, resamples: int = 200
) -> Outcome:
    """Simulates one search, corrects it, and holds the numbers beside the winner's truth."""
    rng = np.random.default_rng(seed)
    label, subject = draw_people(world, rng)
    worths = world.worth + world.spread * rng.standard_normal(trials)
    predicted = draw_predictions(world, worths, label, subject, rng)
    counts = count_by_subject(predicted, label, subject, classes=world.classes)
    found = correct(counts, resamples=resamples, seed=seed)
    true = float(expected(worths[found.trial]))

    def covers(interval: tuple[float, float]) -> bool:
        return interval[0] <= true <= interval[1]

    return Outcome(
        found.selected["uf1"] - true,
        found.corrected["uf1"] - true,
        found.left_out["uf1"] - true,
        covers(found.interval),
        covers(found.selected_interval),
    )


def measure(world: World, trials: int, searches: int) -> dict[str, float]:
    """Mean errors and coverage over simulated searches."""
    expected = truth(world)
    found = [one_search(world, trials, expected, seed) for seed in range(searches)]
    fields = ("selected", "corrected", "left_out", "covered", "selected_covered")
    return {name: float(np.mean([getattr(each, name) for each in found])) for name in fields}


def speed() -> float:
    """Seconds for 1,000 resamples of 1,000 trials x 500 clips x 5 classes x 68 subjects."""
    rng = np.random.default_rng(0)
    label, subject = rng.integers(0, 5, 500), rng.integers(0, 68, 500)
    predicted = rng.integers(0, 5, (1000, 500))
    start = time.perf_counter()
    correct(count_by_subject(predicted, label, subject, classes=5), resamples=1000)
    return time.perf_counter() - start


def picture(curves: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    """The curve of docs/honest-numbers.md: bias against the number of trials."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(4.2 * len(curves), 3.2), sharey=True)
    styles = {"selected": "C1-o", "corrected": "C0-s", "left_out": "C7--^"}
    for axis, (name, curve) in zip(np.atleast_1d(axes), curves.items(), strict=True):
        for field, style in styles.items():
            values = [row[field] for row in curve.values()]
            axis.plot(list(curve), values, style, ms=4, label=field.replace("_", " "))
        axis.axhline(0.0, color="black", lw=0.8)
        axis.set(title=name, xlabel="finished trials", xscale="log")
    np.atleast_1d(axes)[0].set_ylabel("bias of UF1")
    np.atleast_1d(axes)[0].legend(frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Prints the table, and draws the curve where `--picture` says so."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searches", type=int, default=300)
    parser.add_argument("--trials", type=int, nargs="+", default=[1, 10, 50, 200, 500])
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    print(f"1,000 resamples x 1,000 trials x 500 clips: {speed():.2f} s")
    print(f"{args.searches} simulated searches per row; bias of UF1, coverage of 95 % intervals")
    print("| world | trials | selected | covers | corrected | covers | left-out selection |")
    print("|---|---|---|---|---|---|---|")
    curves: dict[str, dict[int, dict[str, float]]] = {}
    for name, world in WORLDS.items():
        curves[name] = {}
        for trials in args.trials:
            row = curves[name][trials] = measure(world, trials, args.searches)
            print(
                f"| {name} | {trials} | {row['selected']:+.3f} | {row['selected_covered']:.2f} "
                f"| {row['corrected']:+.3f} | {row['covered']:.2f} | {row['left_out']:+.3f} |",
                flush=True,
            )
    if args.picture:
        picture(curves, args.picture)


if __name__ == "__main__":
    main()
