"""What racing costs and loses: a ledger of complete trials replayed under every rule.

    python benchmarks/racing_replay.py                        # simulated trials of known worth
    python benchmarks/racing_replay.py --ledger STORE/NAME    # any search's complete trials
    python benchmarks/racing_replay.py --ledger trials.npz    # probs [M,N,C], label, subject [N]
    python benchmarks/racing_replay.py --hopeless             # as many hopeless trials beside them
    ... --rules asha --keep 0.3 --second-chances 3 --blocks 3 5 8 16 36

Cost: share of all fold trainings that the rule spends. Regret: pooled UF1 of the best trial minus
that of the trial chosen among the finished ones; where worths are known, "true regret" is the same
difference in expected UF1 (choosing by noise loses the former, not the latter). Each order
shuffles the trials and reseeds the fold order; trials run one after another. With simulated
trials the bias of the corrected estimate is printed too: a race uses the subjects on which it is
judged.

Letters: M trials, N clips, F folds, C classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from estimates import WORLDS, World, draw_predictions, draw_sample, truth
from numpy.typing import NDArray

from mer_search.loso.estimates import correct
from mer_search.loso.folds import auto_blocks, make_folds
from mer_search.loso.ledger import Ledger as Store
from mer_search.loso.metrics import SubjectCounts, uf1
from mer_search.loso.result import read_results
from mer_search.search.racing import (
    RULES,
    Race,
    count_by_fold,
    decide,
    most_promising,
    prefix_score,
)


@dataclass(frozen=True)
class Ledger:
    """Complete trials: predicted [M, N], label [N], subject per clip [N], expected UF1 [M]."""

    predicted: NDArray[Any]
    label: NDArray[Any]
    subject: list[tuple[str, str]]
    expected: NDArray[Any] | None = None


@dataclass(frozen=True)
class Run:
    """One replay: share of fold trainings, regret, and errors of the two scores (or their value).

    Without known truth `corrected` and `selected` are the scores themselves.
    """

    cost: float
    regret: float
    true_regret: float
    finished: int
    selected: float
    corrected: float


def stored(path: Path) -> Ledger:
    """The finished trials of STORE/NAME, or of an .npz: probs [M, N, C], label [N], subject [N]
    ("dataset/subject")."""
    if path.is_dir():
        results = read_results(Store(str(path.parent), path.name))
        done = [result for result in results if result.complete]
        predicted = np.stack([result.probs.argmax(-1) for result in done])
        return Ledger(predicted, done[0].protocol.label, list(done[0].protocol.subject))
    with np.load(path) as data:
        subject = [tuple(str(name).split("/", 1)) for name in data["subject"]]
        return Ledger(data["probs"].argmax(-1), data["label"].astype(int), subject)  # type: ignore[arg-type]


def simulated(world: World, trials: int, expected: Callable[[Any], Any], seed: int) -> Ledger:
    """Trials whose expected UF1 on a fresh sample is known."""
    rng = np.random.default_rng(seed)
    people = draw_sample(world, rng)
    worths = world.worth + world.spread * rng.standard_normal(trials)
    predicted = draw_predictions(world, worths, people, rng)
    who = [("sim", f"s{s:03d}") for s in people.subject]
    return Ledger(predicted, people.label, who, expected(worths))


def with_hopeless(ledger: Ledger, seed: int = 0) -> Ledger:
    """As many trials again whose predictions are half shuffled over the clips."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(ledger.predicted, axis=1)
    spoilt = np.where(rng.random(shuffled.shape) < 0.5, shuffled, ledger.predicted)
    both = np.concatenate([ledger.predicted, spoilt])
    return replace(ledger, predicted=both, expected=None)


def by_subject(ledger: Ledger) -> tuple[dict[Any, int], NDArray[np.int64]]:
    """Row of each subject's fold, and the counts of all trials by those rows [M, F, C, C]."""
    folds = make_folds(ledger.subject, ledger.label)
    classes = int(ledger.label.max()) + 1
    counts = [
        count_by_fold(row, ledger.label, folds.held_out, classes=classes)
        for row in ledger.predicted
    ]
    return {fold: row for row, fold in enumerate(folds.subjects)}, np.stack(counts)


def race(counts: NDArray[np.int64], rule: str, args: argparse.Namespace) -> tuple[float, list[int]]:
    """Cost and finished trials of trials [M, F, C, C] run one after another, folds in order."""
    given, folds = args.blocks or (), counts.shape[1]
    stops = np.cumsum(given if sum(given) == folds else auto_blocks(folds)).tolist()
    seen: dict[int, list[float]] = {stop: [] for stop in stops}
    reached: dict[int, int] = {}
    best: NDArray[np.int64] | None = None
    for number, trial in enumerate(counts):
        for stop in stops:
            reached[number] = stop
            around = Race(best, seen[stop], stop_below=args.stop_below, keep=args.keep, seed=number)
            decision = decide(rule, trial[:stop], around)
            seen[stop].append(prefix_score(trial, stop))
            if decision.stop:
                break
        else:
            best = better(best, trial)
    for _ in range(args.second_chances if rule != "none" else 0):
        stopped = {n: counts[n][:stop] for n, stop in reached.items() if stop < stops[-1]}
        if stopped:
            chosen = most_promising(stopped, Race(best))
            reached[chosen], best = stops[-1], better(best, counts[chosen])
    finished = [number for number, stop in reached.items() if stop == stops[-1]]
    return sum(reached.values()) / (len(counts) * counts.shape[1]), finished


def better(best: NDArray[np.int64] | None, trial: NDArray[np.int64]) -> NDArray[np.int64]:
    """The incumbent after a trial [F, C, C] with all folds."""
    return trial if best is None or uf1(trial.sum(0)) > uf1(best.sum(0)) else best


def replay(ledger: Ledger, rule: str, args: argparse.Namespace, seed: int) -> Run:
    """One order of trials and folds under one rule."""
    row_of, counts = by_subject(ledger) if args.cache is None else args.cache
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(counts))
    folds = [row_of[fold] for fold in make_folds(ledger.subject, ledger.label, seed=seed).subjects]
    if args.random_folds:
        folds = rng.permutation(len(folds)).tolist()
    table = counts[order][:, folds]
    cost, finished = race(table, rule, args)
    final = uf1(table.sum(1))
    done = table[finished]
    tallies = SubjectCounts(
        np.diagonal(done, axis1=2, axis2=3).astype(float),
        done.sum(2).astype(float),
        done[0].sum(2).astype(float),
    )
    found = correct(tallies, resamples=200, seed=seed)
    expected = np.zeros(len(final)) if ledger.expected is None else ledger.expected[order]
    known = expected[finished][found.trial]
    return Run(
        cost,
        float(final.max() - final[finished].max()),
        float(expected[final.argmax()] - known),
        len(finished),
        found.selected["uf1"] - known,
        found.corrected["uf1"] - known,
    )


def table(
    title: str, runs: Callable[[str], list[Run]], *, rules: Sequence[str], known: bool
) -> None:
    """Prints one row per rule."""
    word = "bias of " if known else ""
    print(f"\n{title}\n")
    print(f"| rule | cost | regret | true regret | finished | {word}selected | {word}corrected |")
    print("|---|---|---|---|---|---|---|")
    for rule in rules:
        found = runs(rule)
        true = f"{np.mean([run.true_regret for run in found]):+.4f}" if known else "-"

        def mean(field: str, found: list[Run] = found) -> float:
            return float(np.mean([getattr(run, field) for run in found]))

        print(
            f"| {rule} | {mean('cost'):.3f} | {mean('regret'):.4f} | {true} | "
            f"{mean('finished'):.1f} | {mean('selected'):+.3f} | {mean('corrected'):+.3f} |",
            flush=True,
        )


def main() -> None:
    """Prints cost against regret for every rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--orders", type=int, default=60)
    parser.add_argument("--trials", type=int, default=40, help="simulated, or first of the ledger")
    parser.add_argument("--stop-below", type=float, default=0.1)
    parser.add_argument("--keep", type=float, default=0.5, help="of asha")
    parser.add_argument("--second-chances", type=int, default=0)
    parser.add_argument("--blocks", type=int, nargs="+", help="used where they sum to the folds")
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=RULES)
    parser.add_argument("--hopeless", action="store_true")
    parser.add_argument("--random-folds", action="store_true")
    args = parser.parse_args()
    spoil = with_hopeless if args.hopeless else (lambda ledger: ledger)
    args.cache = None
    if args.ledger:
        whole = stored(args.ledger)
        ledger = spoil(replace(whole, predicted=whole.predicted[: args.trials]))
        args.cache = by_subject(ledger)
        title = f"{args.ledger.name}: {len(ledger.predicted)} trials, {args.orders} orders"
        table(title, lambda rule: [replay(ledger, rule, args, s) for s in range(args.orders)],
              rules=args.rules, known=False)  # fmt: skip
        return
    for name, world in WORLDS.items():
        if world.spread == 0.0:
            continue
        expected = truth(world, 500)
        ledgers = [spoil(simulated(world, args.trials, expected, s)) for s in range(args.orders)]
        table(f"{name}: {args.trials} simulated trials, {args.orders} searches",
              lambda rule, ledgers=ledgers: [replay(each, rule, args, s)
                                             for s, each in enumerate(ledgers)],
              rules=args.rules, known=not args.hopeless)  # fmt: skip


if __name__ == "__main__":
    main()
