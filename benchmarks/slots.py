"""How busy a driver keeps many slots: trials that sleep, on several logical nodes of this machine.

    python benchmarks/slots.py                       # 48 slots on 4 nodes, trials of 5 s and 10 s
    python benchmarks/slots.py --seconds 60 --rounds 2

Trials write their blocks and report them like real ones, the ledger is on, and one search runs all
durations one after another. Its first trials, one a slot, wait until every worker has started: that
takes what the machine's processors take, not the driver. Busy: the share of slot time spent in
trials, from the moment when as many trials of that duration have started as there are slots, until
the last of them is started. Workers are light (no torch), so that many of them fit in memory.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from driver_overhead import search_in, space
from ray import tune
from stubs import stub_block

from mer_search import space_file
from mer_search.features.cache import Cache
from mer_search.features.records import FillReport
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import LosoResult, read_protocol, read_results
from mer_search.search.book import Book
from mer_search.search.cluster import RAY
from mer_search.search.prepare import Prepared

START = 900.0  # seconds within which all workers start


class Sleeper(tune.Trainable):
    """Sleeps its trial's seconds, a part before each block; a first trial waits for the others."""

    def setup(self, config: dict[str, Any], material: Any = None) -> None:
        self.material = material
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.number, self.index = int(new_config["number"]), 0
        return True

    def step(self) -> dict[str, Any]:
        protocol, index = self.material.protocol, self.index
        bounds = protocol.folds.blocks
        whole = self.material.seconds[self.number]
        part = whole * (bounds[index][1] - bounds[index][0]) / bounds[-1][1]
        if self.number < self.material.slots and index == 0:
            started = Path(self.material.started)
            (started / str(self.number)).touch()
            since = time.monotonic()
            while len(list(started.iterdir())) < self.material.slots:
                if time.monotonic() - since > START:
                    raise RuntimeError("not every worker starts; give fewer --slots")
                time.sleep(0.5)
        time.sleep(part)
        block = stub_block(protocol, self.number, index, part)
        self.material.ledger.write_block(self.number, index, block)
        self.index += 1
        scores = dict.fromkeys(("uf1", "uar", "accuracy"), 0.5)
        return {"block": index, "seconds": part, "scores": scores,
                "done": self.index == len(bounds)}  # fmt: skip


def sleep_through(ledger: Ledger, seconds: list[float], args: argparse.Namespace) -> float:
    """Runs one trial per entry of `seconds`; returns the driver's CPU seconds."""
    from mer_search.search import tuning

    experiment = space_file.from_dict(space("random", len(seconds), args.slots, 0))
    book = Book(experiment, ledger, read_protocol(ledger), trials=len(seconds))
    started = Path(ledger.store).parent / "started"
    started.mkdir()
    light = SimpleNamespace(protocol=book.protocol, ledger=ledger, seconds=seconds,
                            slots=args.slots, started=str(started))  # fmt: skip
    nothing: Any = None
    prepared = Prepared(nothing, book.protocol, FillReport((), (), (), 0, 0.0), "", False)
    timer = threading.Timer(args.most, setattr, (book, "stopping", True))
    timer.start()
    cpu = time.process_time()
    with mock.patch.object(tuning, "material_of", return_value=light):
        tuning.tune_trials(experiment, book, prepared, cache=Cache.default(),
                           slots=lambda: args.slots, trainable=Sleeper)  # fmt: skip
    timer.cancel()
    return time.process_time() - cpu


def span(result: LosoResult) -> tuple[float, float]:
    """Start and end of a trial, as its blocks tell."""
    first, last = result.blocks[0], result.blocks[len(result.blocks) - 1]
    return first.finished - first.seconds, last.finished


def busy(ledger: Ledger, numbers: range, slots: int) -> tuple[float, float]:
    """Share of slot time in trials, and the length of the window in seconds."""
    results = [result for result in read_results(ledger) if result.complete]
    spans = [span(result) for result in results if result.record.number in numbers]
    if len(spans) <= slots:
        return float("nan"), 0.0
    starts = sorted(start for start, _ in spans)
    left, right = starts[slots - 1], starts[-1]
    # Trials of the duration before may still run in the window: they are work as well.
    before = [span(result) for result in results if result.record.number < numbers.start]
    inside = sum(max(0.0, min(end, right) - max(begin, left)) for begin, end in spans + before)
    return inside / (slots * (right - left)), right - left


def cluster_of(nodes: int, slots: int) -> Any:
    """Several raylets on this machine, one of them the head."""
    os.environ.update({**RAY, "RAY_AUTH_MODE": "disabled"})  # on loopback, for this script only
    from ray.cluster_utils import Cluster

    each = {"num_cpus": slots // nodes, "object_store_memory": 80_000_000}
    found = Cluster(initialize_head=True, head_node_args={**each, "include_dashboard": False})
    for _ in range(nodes - 1):
        found.add_node(**each)
    return found


def main() -> None:
    """Prints one row per duration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=48)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 5.0])
    parser.add_argument("--rounds", type=int, default=5, help="trials of each duration per slot")
    parser.add_argument("--most", type=float, default=1e6, help="seconds; ends after the blocks")
    args = parser.parse_args()
    args.sampler, args.history, count = "random", 0, args.slots * args.rounds
    warm = [1.0] * args.slots
    seconds = [*warm, *itertools.chain(*([each] * count for each in args.seconds))]
    cluster = cluster_of(args.nodes, args.slots)
    import ray

    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        with tempfile.TemporaryDirectory(prefix="slots-") as folder:
            ledger = search_in(Path(folder), args, len(seconds))
            cpu = sleep_through(ledger, seconds, args)
            blocks = len(read_protocol(ledger).folds.blocks)
            print(f"{args.slots} slots on {args.nodes} nodes, {len(seconds)} trials of "
                  f"{blocks} blocks; driver {cpu / len(seconds):.4f} "
                  f"CPU s per trial; computed, not measured: one driver saturates at "
                  f"{len(seconds) / cpu:.0f} trials/s")  # fmt: skip
            print("\n| trial s | busy | window s |\n|---|---|---|")
            for place, each in enumerate(args.seconds):
                first = args.slots + place * count
                numbers = range(first, first + count)
                share, window = busy(ledger, numbers, args.slots)
                print(f"| {each:g} | {share:.3f} | {window:.0f} |", flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
