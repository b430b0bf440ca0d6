"""What the driver costs per trial, with trials that do nothing but write their blocks.

    python benchmarks/driver_overhead.py                           # 100 and 1,000 trials
    python benchmarks/driver_overhead.py --before 9000 --folder F --fill     # writes 9,000 trials
    python benchmarks/driver_overhead.py --before 9000 --folder F  # 1,000 more on top of them
    python benchmarks/driver_overhead.py --bare           # without Ray: the book's own loop

Ledger and MLflow (SQLite) are on. CPU is the driver process's own, all threads, from the moment
the search is ready until MLflow shows every trial; the sampler's ask is told apart, and so is
"MLflow", the CPU of the process that writes it. Every size runs in a process of its own.
"relaunch" is the time in which an existing search of that size is read until it is ready for its
next trial, "catches up" that in which every trial is compared with its run in MLflow, which a
launch does not wait for. "saturates" is computed from the driver's CPU per trial, not measured:
the trials per second at which one processor is used up.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from stubs import stub_block

from mer_search import space_file
from mer_search.features.cache import Cache
from mer_search.features.records import FillReport
from mer_search.loso.folds import make_folds
from mer_search.loso.ledger import FoldBlock, Ledger
from mer_search.loso.memory import Plan
from mer_search.loso.result import Protocol, read_protocol, subjects_of
from mer_search.search.book import Book, News
from mer_search.search.prepare import Prepared, stored
from mer_search.tracking.background import InBackground

SUBJECTS, CLIPS = 24, 10
SCORES = ("uf1", "uar", "accuracy")


@dataclass
class Row:
    """What one size cost."""

    trials: int
    cpu: float
    ask: float
    mlflow: float
    mb: float
    wall: float
    relaunch: float
    catches_up: float


def space(sampler: str, trials: int, slots: int, history: int) -> dict[str, Any]:
    """A space of the usual width: six settings, one of them conditional."""
    return {
        "name": "overhead",
        "data": {"reader": "manifest", "root": "nowhere"},
        "features": {"align": {"method": "none"}, "backbone": {"name": "patches"}},
        "model": {
            "attention": {"choice": ["none", "temporal"]},
            "attention_size": {"choice": [32, 64], "when": {"attention": ["temporal"]}},
            "lstm_size": {"choice": [32, 64, 128]},
            "dropout": {"float": [0.0, 0.6]},
        },
        "train": {
            "epochs": {"int": [20, 80], "step": 10},
            "learning_rate": {"float": [1e-4, 1e-2], "log": True},
        },
        "search": {"trials": trials, "sampler": sampler, "concurrency": slots,
                   "racing": {"rule": "none"}, **({"history": history} if history else {})},
    }  # fmt: skip


def search_in(folder: Path, args: argparse.Namespace, trials: int) -> Ledger:
    """The search in the folder; a new one of 240 clips of 24 subjects if there is none."""
    ledger = Ledger(str(folder / "store"), "overhead")
    if not ledger.exists():
        keys = tuple(f"toy/s{s:02d}/c{c}" for s in range(SUBJECTS) for c in range(CLIPS))
        label = np.arange(len(keys), dtype=np.int64) % 3
        folds = make_folds(subjects_of(keys), label)
        protocol = Protocol(keys, label, ("calm", "moved", "other"), folds)
        experiment = space_file.from_dict(space(args.sampler, trials, args.slots, args.history))
        ledger.create({**experiment.as_file(), "record": {"data": "0" * 64}}, protocol.to_json())
    return ledger


def bare(book: Book) -> None:
    """The book's own loop: what Tune's part of the driver would call."""
    for record in iter(book.next, None):
        for index in range(len(book.protocol.folds.blocks)):
            book.ledger.write_block(
                record.number, index, stub_block(book.protocol, record.number, index)
            )
            value = float(np.random.default_rng([record.number, index]).random())
            book.block(record.number, index, dict.fromkeys(SCORES, value), 0.0)


def stub_trial(sleep: float) -> type[Any]:
    """A worker that sleeps and guesses where others train; in parts, one for each block."""
    from mer_search.search.worker import LosoTrial

    class StubTrial(LosoTrial):
        def _plan(self) -> Plan:
            return Plan(4, 4, 4, 0, 0)

        def _block(self) -> FoldBlock:
            if self.index not in self.blocks:
                bounds = self.material.protocol.folds.blocks
                seconds = sleep * (bounds[self.index][1] - bounds[self.index][0]) / bounds[-1][1]
                time.sleep(seconds)
                block = stub_block(self.material.protocol, self.number, self.index, seconds)
                self.ledger.write_block(self.number, self.index, block)
                self.blocks[self.index] = block
            return self.blocks[self.index]

    return StubTrial


@contextmanager
def ray_of(slots: int) -> Iterator[None]:
    """A Ray on this machine with as many logical processors as there are slots."""
    from mer_search.search.cluster import RAY

    for name, value in RAY.items():
        os.environ.setdefault(name, value)
    import ray

    ray.init(address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False,
             logging_level="ERROR")  # fmt: skip
    try:
        yield
    finally:
        ray.shutdown()


def tuned(book: Book, slots: int, sleep: float = 0.0) -> None:
    """The driver itself, on a Ray that is there."""
    from mer_search.search import tuning

    nothing: Any = None
    prepared = Prepared(nothing, book.protocol, FillReport((), (), (), 0, 0.0), "", False)
    with mock.patch.object(tuning, "material_of", material):
        tuning.tune_trials(book.experiment, book, prepared, cache=Cache.default(),
                           slots=lambda: slots, trainable=stub_trial(sleep))  # fmt: skip


def material(experiment: Any, dataset: Any, protocol: Protocol, **rest: Any) -> Any:
    """What stub trials need: no features and no weights."""
    from mer_search.search.worker import Material

    return Material(experiment, dataset, protocol, rest["ledger"], rest["cache"].root, {})


def fill(folder: Path, args: argparse.Namespace) -> None:
    """Finished trials by chance, and their runs in MLflow; continues what is there."""
    ledger = search_in(folder, args, args.before)
    experiment = space_file.from_dict(space("random", args.before, args.slots, 0))
    with mock.patch.object(os, "fsync"):
        bare(Book(experiment, ledger, read_protocol(ledger), trials=args.before))
    with InBackground(ledger, tracking_of(folder), says=print, wait=600) as mirror:
        mirror.changed(0)


def tracking_of(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def megabytes() -> float:
    """What this process keeps in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def seconds_of(mirror: InBackground) -> float:
    """Processor time of the process that writes MLflow, so far."""
    if mirror._mirror is None:
        return 0.0
    stat = Path(f"/proc/{mirror._mirror.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, args: argparse.Namespace, trials: int) -> Row:
    """`trials` trials on top of those in the folder."""
    whole = args.before + trials
    ledger = search_in(folder, args, whole)
    experiment = space_file.from_dict(space(args.sampler, whole, args.slots, args.history))
    mirror = InBackground(ledger, tracking_of(folder), says=print, wait=600)

    def tell(news: News) -> None:
        if args.mlflow:
            mirror.changed(news.record.number)

    begun = time.perf_counter()
    stored(ledger)
    book = Book(experiment, ledger, read_protocol(ledger), trials=whole, tell=tell)
    relaunch, spent, ask = time.perf_counter() - begun, [0.0], book.proposals.ask

    def timed() -> Any:
        at = time.thread_time()
        proposal = ask()
        spent[0] += time.thread_time() - at
        return proposal

    book.proposals.ask = timed  # type: ignore[method-assign]
    begun = time.perf_counter()
    if args.mlflow:
        mirror.__enter__()
        while mirror._all:
            time.sleep(0.05)
    caught = time.perf_counter() - begun
    begun, cpu, beside = time.perf_counter(), time.process_time(), seconds_of(mirror)
    if args.bare:
        bare(book)
    else:
        tuned(book, args.slots)
    wall = time.perf_counter() - begun
    while args.mlflow and (mirror._changed or mirror._asked is not None):
        time.sleep(0.05)
    cpu, beside = time.process_time() - cpu - spent[0], seconds_of(mirror) - beside
    if args.mlflow:
        mirror.__exit__(None, None, None)
    mb = megabytes()
    finished = sum(record.state == "COMPLETE" for record in ledger.trials())
    if finished != whole:
        sys.exit(f"{finished} of {whole} trials finished: {ledger.trials()[-1].reason}")
    return Row(whole, cpu / trials, spent[0] / trials, beside / trials, mb, wall,
               relaunch, caught)  # fmt: skip


def main() -> None:
    """Prints one row per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--before", type=int, default=0, help="trials that are there already")
    parser.add_argument("--folder", type=Path, help="keeps the search; else a temporary one")
    parser.add_argument("--fill", action="store_true", help="writes the trials of --before")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--history", type=int, default=0, help="of search.history")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--bare", action="store_true", help="without Ray")
    parser.add_argument("--mlflow", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.fill:
        fill(args.folder, args)
        return
    if args.one:
        with tempfile.TemporaryDirectory(prefix="driver-overhead-") as temporary:
            folder = args.folder or Path(temporary)
            if args.bare:
                row = measure(folder, args, args.trials[0])
            else:
                with ray_of(args.slots):
                    row = measure(folder, args, args.trials[0])
        print(json.dumps(asdict(row)))
        return
    print("| trials | CPU s/trial | ask s/trial | MLflow s/trial | MB | wall s | "
          "relaunch s | catches up s | saturates |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    at = sys.argv.index("--trials") if "--trials" in sys.argv else len(sys.argv)
    passed = [*sys.argv[1:at], *sys.argv[at + 1 + len(args.trials) :]]
    for trials in args.trials:
        command = [sys.executable, __file__, "--one", *passed, "--trials", str(trials)]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        row = Row(**json.loads(told.strip().splitlines()[-1]))
        print(
            f"| {row.trials} | {row.cpu:.4f} | {row.ask:.4f} | {row.mlflow:.4f} | {row.mb:.0f} | "
            f"{row.wall:.1f} | {row.relaunch:.1f} | {row.catches_up:.1f} | "
            f"{1 / (row.cpu + row.ask):.0f}/s |",
            flush=True,
        )


if __name__ == "__main__":
    main()
