"""The whole search against the scripts that a good engineer writes in a day, in one run.

    python benchmarks/against_plain.py               # 12 trials, 442 clips, 68 subjects
    python benchmarks/against_plain.py --trials 4 --epochs 2 4     # a glance

Synthetic maps in the shape of the MEGC2019 composite: two maps of 14x14x3 a clip, three classes.
All get the same trials in the same order, from process start to process end, on the same Ray:

- plain: Tune, OptunaSearch, features in memory, one `nn.LSTM` per fold trained one after another
  with AdamW, MLflowLoggerCallback into SQLite, the pooled UF1 reported at the end;
- better: the same with reused actors, fused AdamW, and ASHA over blocks of folds;
- ours, with racing and MLflow; without racing; and without both.

"reached" is the time at which a finished trial first scored what the plain script's best trial
scores, less .01: first weights differ, so scores do too. "training" is the time inside training and
prediction, summed over all processes. The last lines say what each part gives: the bank is what a
fold's training takes less, orchestration all else between plain and ours without racing and MLflow.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from mer_search import space_file
from mer_search.loso.folds import auto_blocks
from mer_search.loso.ledger import Ledger
from mer_search.loso.metrics import confusion, uf1
from mer_search.loso.result import read_results

SUBJECTS, CLIPS, CLASSES, SIZE = 68, 442, 3, 14
SIGNAL = 0.2
"""How far a class moves a map's channels; trials end between chance and about .8."""
MODES = ("plain", "better", "ours", "ours, no racing", "ours, no racing, no MLflow")


def write(folder: Path, args: argparse.Namespace) -> Path:
    """Maps, manifest and search-space file; returns the last."""
    rng = np.random.default_rng(0)
    subject = np.sort([*rng.integers(0, SUBJECTS, CLIPS - SUBJECTS).tolist(), *range(SUBJECTS)])
    label = rng.choice(CLASSES, CLIPS, p=(0.57, 0.24, 0.19))
    pattern = rng.standard_normal((CLASSES, 2, SIZE, SIZE, 3))
    face = 2.0 * rng.standard_normal((SUBJECTS, SIZE, SIZE, 3))
    (folder / "maps").mkdir()
    rows = ["dataset,subject,clip,label,path,frame"]
    for clip in range(CLIPS):
        for frame in range(2):
            own = SIGNAL * pattern[label[clip], frame] + face[subject[clip]]
            values = (own + rng.standard_normal(own.shape)).astype(np.float32)
            np.save(folder / "maps" / f"{clip}-{frame}.npy", values)
            name = ("negative", "positive", "surprise")[label[clip]]
            rows.append(f"toy,s{subject[clip]:02d},c{clip},{name},maps/{clip}-{frame}.npy,{frame}")
    (folder / "maps.csv").write_text("\n".join(rows))
    file = folder / "space.yaml"
    racing = {"rule": "asha", "keep": 0.3, "second_chances": 3}  # docs/racing.md
    file.write_text(yaml.safe_dump({
        "name": "ours",
        "data": {"reader": "manifest", "root": str(folder / "maps.csv")},
        "features": {"align": {"method": "none"}, "keyframes": {"method": "all"},
                     "backbone": {"name": "patches", "grid": 7}},
        "model": {"regions": "flatten", "lstm_size": {"choice": [16, 32, 64]}},
        "train": {"epochs": {"choice": args.epochs}, "batch_size": {"choice": [32, 64]},
                  "learning_rate": {"float": [3e-5, 1e-2], "log": True},
                  "weight_decay": {"float": [1e-3, 1.0], "log": True}},
        "search": {"trials": args.trials, "sampler": "random", "racing": racing,
                   "concurrency": args.slots, "first": proposals(args)},
    }, sort_keys=False))  # fmt: skip
    return file


def proposals(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The trials that everyone gets."""
    rng = np.random.default_rng(1)
    return [
        {"model.lstm_size": int(rng.choice([16, 32, 64])),
         "train.epochs": int(rng.choice(args.epochs)),
         "train.batch_size": int(rng.choice([32, 64])),
         "train.learning_rate": float(np.exp(rng.uniform(np.log(3e-5), np.log(1e-2)))),
         "train.weight_decay": float(np.exp(rng.uniform(np.log(1e-3), 0.0)))}
        for _ in range(args.trials)
    ]  # fmt: skip


def in_memory(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """x [N, T, D], label [N], subject [N], as the scripts read them."""
    rows = [line.split(",") for line in (folder / "maps.csv").read_text().splitlines()[1::2]]
    maps = [[np.load(folder / row[4].replace("-0.", f"-{frame}.")).ravel() for frame in range(2)]
            for row in rows]  # fmt: skip
    classes = {"negative": 0, "positive": 1, "surprise": 2}
    label = np.array([classes[row[3]] for row in rows])
    return np.array(maps), label, np.array([int(row[1][1:]) for row in rows])


class Net(torch.nn.Module):
    """The rival's model of one fold."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(channels, size, batch_first=True)
        self.out = torch.nn.Linear(size, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(x)[0][:, -1])


def train_fold(
    data: tuple[torch.Tensor, torch.Tensor, torch.Tensor], fold: int, params: dict[str, Any],
    *, fused: bool,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """The loop of both scripts; returns the held-out clips and their classes."""
    x, label, subject = data
    own, held = subject != fold, torch.nonzero(subject == fold)[:, 0]
    std, mean = torch.std_mean(x[own], (0, 1))
    rest, truth = (x[own] - mean) / std, label[own]
    torch.manual_seed(0)
    net = Net(x.shape[2], params["model.lstm_size"])
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=params["train.learning_rate"],
        weight_decay=params["train.weight_decay"], fused=fused or None,
    )  # fmt: skip
    for _ in range(params["train.epochs"]):
        for batch in torch.randperm(len(rest)).split(params["train.batch_size"]):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(rest[batch]), truth[batch]).backward()
            optimiser.step()
    with torch.no_grad():
        return held, net((x[held] - mean) / std).argmax(1)


def noted(folder: Path, at: float, folds: int, seconds: float, score: float | None) -> None:
    """One line per trial or block: when, folds trained and in what time, a finished trial's UF1."""
    with (folder / "noted.jsonl").open("a") as file:
        file.write(json.dumps([at, folds, seconds, score]) + "\n")


def scripts(folder: Path, args: argparse.Namespace, *, better: bool) -> None:
    """The plain script, or the better one."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    blocks = list(itertools.pairwise([0, *np.cumsum(auto_blocks(SUBJECTS)).tolist()]))
    given = [(np.random.default_rng(0).permutation(SUBJECTS), folder)]

    class Trial(tune.Trainable):
        """All folds in one step, or a block of them in each."""

        def setup(self, config: dict[str, Any], data: Any = None) -> None:
            torch.set_num_threads(1)
            self.data = tuple(map(torch.from_numpy, data))
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.config, self.block = new_config, 0
            self.guess = torch.full((CLIPS,), -1)
            return True

        def step(self) -> dict[str, Any]:
            order, place = given[0]
            start, stop = blocks[self.block] if better else (0, SUBJECTS)
            begun = time.perf_counter()
            for fold in order[start:stop]:
                held, guess = train_fold(self.data, int(fold), self.config, fused=better)
                self.guess[held] = guess
            seconds = time.perf_counter() - begun
            self.block += 1
            known = self.guess >= 0
            counts = confusion(self.data[1][known].numpy(), self.guess[known].numpy(), CLASSES)
            score, done = float(uf1(counts)), stop == SUBJECTS
            noted(place, time.time(), stop - start, seconds, score if done else None)
            return {"uf1": score, "done": done}

    ray.init(num_cpus=args.slots, include_dashboard=False, logging_level="ERROR",
             log_to_driver=False)  # fmt: skip
    config = {"model.lstm_size": tune.choice([16, 32, 64]),
              "train.epochs": tune.choice(args.epochs), "train.batch_size": tune.choice([32, 64]),
              "train.learning_rate": tune.loguniform(3e-5, 1e-2),
              "train.weight_decay": tune.loguniform(1e-3, 1.0)}  # fmt: skip
    search = OptunaSearch(metric="uf1", mode="max", points_to_evaluate=proposals(args), seed=0)
    asha = tune.schedulers.ASHAScheduler(
        metric="uf1", mode="max", max_t=len(blocks), grace_period=1, reduction_factor=2
    )
    tune.Tuner(
        tune.with_resources(tune.with_parameters(Trial, data=in_memory(folder)), {"cpu": 1}),
        param_space=config,
        tune_config=tune.TuneConfig(
            num_samples=args.trials, search_alg=search, reuse_actors=better,
            max_concurrent_trials=args.slots, scheduler=asha if better else None,
        ),
        run_config=tune.RunConfig(
            name="script", storage_path=str(folder / "tune"), verbose=0,
            callbacks=[MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/script.db",
                                            experiment_name="script")],
        ),
    ).fit()  # fmt: skip


def ours(folder: Path, args: argparse.Namespace, mode: str) -> None:
    """`mer-search launch`, as a user types it."""
    command = ["launch", str(folder / "space.yaml"), "--store", str(folder / "store")]
    if "no racing" in mode:
        command += ["--set", "search.racing.rule=none", "--set", "search.racing.second_chances=0"]
    command += ["--tracking", "none"] if "no MLflow" in mode else []
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    from mer_search import cli

    assert cli.run(command) == 0
    for result in read_results(Ledger(str(folder / "store"), "ours")):
        for block in result.blocks.values():
            done = result.complete and block is result.blocks[max(result.blocks)]
            folds = len({key.split("/")[1] for key in block.keys})
            score = result.scores["uf1"] if done else None
            noted(folder, block.finished, folds, block.seconds, score)


def run(mode: str, args: argparse.Namespace) -> dict[str, Any]:
    """One mode in a process of its own: seconds in all and in training, folds, finished trials."""
    with tempfile.TemporaryDirectory(prefix="against-") as place:
        folder = Path(place)
        space_file.read(str(write(folder, args)))
        begun = time.time()
        line = [sys.executable, __file__, "--one", mode, "--folder", place, "--trials",
                str(args.trials), "--slots", str(args.slots), "--epochs",
                *map(str, args.epochs)]  # fmt: skip
        quiet = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "MER_SEARCH_CACHE": place}
        done = subprocess.run(line, check=False, env=quiet, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{mode} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        seconds = time.time() - begun
        rows = [json.loads(line) for line in (folder / "noted.jsonl").read_text().splitlines()]
    ends = sorted((at - begun, score) for at, *_, score in rows if score is not None)
    folds, training = (sum(row[place] for row in rows) for place in (1, 2))
    return {"seconds": seconds, "folds": folds, "training": training, "ends": ends}


def main() -> None:
    """Prints one row per mode and what the parts give."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES)
    parser.add_argument("--one", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one in ("plain", "better"):
        scripts(args.folder, args, better=args.one == "better")
        return
    if args.one:
        ours(args.folder, args, args.one)
        return
    found: dict[str, dict[str, Any]] = {}
    print("| search | s in all | folds trained | training s | best UF1 | reached s |")
    print("|---|---|---|---|---|---|")
    for mode in args.modes:
        row = found[mode] = run(mode, args)
        best = max(score for _, score in row["ends"])
        aim = max(score for _, score in found[args.modes[0]]["ends"]) - 0.01
        when = next((f"{at:.0f}" for at, score in row["ends"] if score >= aim), "never")
        print(f"| {mode} | {row['seconds']:.0f} | {row['folds']} | {row['training']:.0f} | "
              f"{best:.3f} | {when} |", flush=True)  # fmt: skip
    if set(MODES) <= set(found):
        told = {mode: row["seconds"] for mode, row in found.items()}
        print(f"\nours is {told['plain'] / told['ours']:.1f} times sooner than plain and "
              f"{told['better'] / told['ours']:.1f} times than better")  # fmt: skip
        fold = {mode: row["training"] / row["folds"] for mode, row in found.items()}
        bank, together = fold["plain"] / fold[MODES[4]], told["plain"] / told[MODES[4]]
        print(f"bank {bank:.2f} times, orchestration {together / bank:.2f}, MLflow "
              f"{told[MODES[4]] / told[MODES[3]]:.2f}, racing "
              f"{told[MODES[3]] / told['ours']:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
