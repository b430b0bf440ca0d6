"""How far selected, corrected, nested and leave-one-out-selected scores are from the truth.

Simulates searches whose trials have a known, correlated worth, corrects each, and prints bias and
coverage against the number of trials, for random searches (with a nested evaluation beside each)
and for TPE searches that race:

    python benchmarks/estimates.py --searches 500 --picture docs/images/honest-numbers.png

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
import optuna
from numpy.typing import NDArray

from mer_search.loso.estimates import Estimate, Score, correct, own_score
from mer_search.loso.folds import make_folds
from mer_search.loso.metrics import confusion, count_by_subject, uf1
from mer_search.search.racing import Race, count_by_fold, decide

SHARES = {3: (0.57, 0.25, 0.18), 5: (0.40, 0.26, 0.13, 0.11, 0.10)}
"""Class shares of the MEGC2019 composite and of CASME II with five classes."""
FIELDS = ("true", "selected", "corrected", "left_out", "covered", "selected_covered")
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


@dataclass(frozen=True)
class People:
    """One sample of clips, and how hard subjects and clips are for every model.

    Attributes:
        label, subject: [N].
        common: logits that all trials on these clips share [N, C].
    """

    label: Integers
    subject: Integers
    common: Floats


def draw_sample(world: World, rng: np.random.Generator) -> People:
    """Labels, subjects and shared noise, half of it the subject's and half the clip's."""
    label, subject = draw_people(world, rng)
    noise = rng.standard_normal((len(label), world.classes))
    noise += rng.standard_normal((world.subjects, world.classes))[subject]
    return People(label, subject, np.sqrt(world.shared / 2) * noise)


def draw_predictions(
    world: World, worths: Floats, people: People, rng: np.random.Generator
) -> Integers:
    """What trials of these worths [M] predict [M, N]: the largest of noisy logits."""

    def noise(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal((*shape, world.classes), np.float32)

    n = len(people.label)
    logits = noise(len(worths), n) + noise(len(worths), world.subjects)[:, people.subject]
    logits *= np.float32(np.sqrt((1 - world.shared) / 2))
    logits += people.common.astype(np.float32)
    logits[:, np.arange(n), people.label] += worths[:, None].astype(np.float32)
    return logits.argmax(-1)


def truth(
    world: World, samples: int = 1500, seed: int = 1, *, low: float = -4.5, high: float = 4.5
) -> Callable[[Any], Any]:
    """Expected UF1 on a fresh sample of this size as a function of worth, over so many spreads."""
    rng = np.random.default_rng(seed)
    ends = world.worth + low * world.spread - 0.1, world.worth + high * world.spread + 0.1
    grid = np.linspace(*ends, 9)
    total = np.zeros(len(grid))
    for _ in range(samples):
        predicted = draw_predictions(world, grid, people := draw_sample(world, rng), rng)
        total += uf1(confusion(people.label, predicted, world.classes))
    return np.polynomial.Polynomial.fit(grid, total / samples, 3)


@dataclass(frozen=True)
class Outcome:
    """Errors of the numbers of one search, and whether their intervals covered the truth.

    Attributes:
        true: expected score of the winner on a fresh sample.
        nested: the nested evaluation, whose truth is the mean of `true` over searches: it
            scores the procedure, not this winner.
    """

    true: float
    selected: float
    corrected: float
    left_out: float
    covered: bool
    selected_covered: bool
    nested: Score | None


def one_search(
    world: World,
    trials: int,
    expected: Callable[[Any], Any],
    seed: int,
    *,
    resamples: int = 200,
    nested: bool = False,
) -> Outcome:
    """Simulates one random search, corrects it, and holds the numbers beside the winner's truth."""
    rng = np.random.default_rng(seed)
    people = draw_sample(world, rng)
    worths = world.worth + world.spread * rng.standard_normal(trials)
    predicted = draw_predictions(world, worths, people, rng)
    counts = count_by_subject(predicted, people.label, people.subject, classes=world.classes)
    found = correct(counts, resamples=resamples, seed=seed)
    outer = nested_score(world, trials, people, rng) if nested else None
    return judged(found, outer, float(expected(worths[found.trial])))


def judged(found: Estimate, outer: Score | None, true: float) -> Outcome:
    """The errors of the estimates of a winner whose worth is `true`."""

    def covers(interval: tuple[float, float]) -> bool:
        return interval[0] <= true <= interval[1]

    return Outcome(
        true,
        found.selected["uf1"] - true,
        found.corrected["uf1"] - true,
        found.left_out["uf1"] - true,
        covers(found.interval),
        covers(found.selected_interval),
        outer,
    )


def nested_score(
    world: World, trials: int, people: People, rng: np.random.Generator, groups: int = 5
) -> Score:
    """Nested evaluation: per group of subjects a new search on the others, its winner's guesses.

    What training on fewer subjects costs is not simulated, only what choosing on fewer does.
    """
    group = rng.permutation(world.subjects)[people.subject] % groups
    glued = np.zeros_like(people.label)
    for each in range(groups):
        worths = world.worth + world.spread * rng.standard_normal(trials)
        predicted = draw_predictions(world, worths, people, rng)
        inside = group != each
        scores = uf1(confusion(people.label[inside], predicted[:, inside], world.classes))
        glued[~inside] = predicted[scores.argmax(), ~inside]
    counts = count_by_subject(glued[None], people.label, people.subject, classes=world.classes)
    return own_score(counts, 0)


def raced_tpe(world: World, trials: int, expected: Callable[[Any], Any], seed: int) -> Outcome:
    """A search whose sampler learns from the scores and whose race stops trials on prefixes."""
    rng = np.random.default_rng(seed)
    people = draw_sample(world, rng)
    names = tuple(("toy", f"{subject:02d}") for subject in people.subject)
    folds = make_folds(names, people.label)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    finished: list[tuple[float, Integers]] = []
    best: tuple[float, Integers] | None = None
    for _ in range(trials):
        trial = study.ask()
        x, y = (trial.suggest_float(name, -1.0, 1.0) for name in "xy")
        worth = world.worth + world.spread * (2.0 - 3.0 * (x - 0.3) ** 2 - 3.0 * (y + 0.2) ** 2)
        predicted = draw_predictions(world, np.array([worth]), people, rng)[0]
        table = count_by_fold(predicted, people.label, folds.held_out, classes=world.classes)
        score = float(uf1(table.sum(0)))
        race = Race(incumbent=None if best is None else best[1])
        stops = (stop for _, stop in folds.blocks[:-1])
        if any(decide("predictive", table[:stop], race).stop for stop in stops):
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        study.tell(trial, score)
        finished.append((worth, predicted))
        best = (score, table) if best is None or score > best[0] else best
    guesses = np.stack([predicted for _, predicted in finished])
    counts = count_by_subject(guesses, people.label, people.subject, classes=world.classes)
    found = correct(counts, resamples=200, seed=seed)
    return judged(found, None, float(expected(finished[found.trial][0])))


def measure(
    world: World, trials: int, searches: int, *, nested: bool = False, tpe: bool = False
) -> dict[str, float]:
    """Mean errors and coverage over simulated searches."""
    if tpe:
        expected = truth(world, low=-8.0, high=2.0)
        found = [raced_tpe(world, trials, expected, seed) for seed in range(searches)]
    else:
        expected = truth(world)
        found = [one_search(world, trials, expected, seed, nested=nested)
                 for seed in range(searches)]  # fmt: skip
    means = {name: float(np.mean([getattr(each, name) for each in found])) for name in FIELDS}
    outer, worth = [each.nested for each in found if each.nested], means["true"]
    inside = [low <= worth <= high for low, high in (each.interval for each in outer)]
    means["nested"] = float(np.mean([each.value for each in outer])) - worth if outer else np.nan
    return means | {"nested_covered": float(np.mean(inside)) if inside else np.nan}


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
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(curves), 3.4), layout="tight")
    styles = {"selected": "C1-o", "corrected": "C0-s", "nested": "C2-.D", "left_out": "C7--^"}
    for axis, (name, curve) in zip(
        np.atleast_1d(figure.subplots(1, len(curves), sharey=True)), curves.items(), strict=True
    ):
        for field, style in styles.items():
            values = [row[field] for row in curve.values()]
            axis.plot(list(curve), values, style, ms=4, label=field.replace("_", " "))
        axis.axhline(0.0, color="black", lw=0.8)
        axis.axhspan(-0.015, 0.015, color="black", alpha=0.06, lw=0)
        axis.set(xlabel="finished trials", xscale="log")
        axis.set_title(name.replace(", ", ",\n", 1), fontsize=10)
    figure.axes[0].set_ylabel("bias of UF1")
    figure.axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Prints the tables, and draws the curve where `--picture` says so."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searches", type=int, default=500)
    parser.add_argument("--trials", type=int, nargs="*", default=[1, 10, 50, 200, 500])
    parser.add_argument("--raced", type=int, default=60, help="trials of the raced TPE searches")
    parser.add_argument(
        "--worlds", nargs="+", default=list(WORLDS), choices=WORLDS, metavar="WORLD"
    )
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"1,000 resamples x 1,000 trials x 500 clips: {speed():.2f} s")
    print(f"{args.searches} simulated searches per row; bias of UF1, coverage of 95 % intervals")
    print(
        "| world | trials | selected | covers | corrected | covers | nested | covers | left-out |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    curves: dict[str, dict[int, dict[str, float]]] = {}
    for name in args.worlds:
        world, curves[name] = WORLDS[name], {}
        for trials in args.trials:
            row = curves[name][trials] = measure(world, trials, args.searches, nested=trials <= 200)
            print(line(name, str(trials), row), flush=True)
        if world.spread:
            row = measure(world, args.raced, args.searches, tpe=True)
            print(line(name, f"{args.raced}, raced TPE", row), flush=True)
    if args.picture:
        picture(curves, args.picture)


def line(name: str, trials: str, row: dict[str, float]) -> str:
    """One row of the table; nan where nothing was measured."""
    pairs = {"selected": "selected_covered", "corrected": "covered", "nested": "nested_covered"}
    cells = [f"{row[field]:+.3f} | {row[covered]:.2f}" for field, covered in pairs.items()]
    return f"| {name} | {trials} | {' | '.join(cells)} | {row['left_out']:+.3f} |"


if __name__ == "__main__":
    main()
