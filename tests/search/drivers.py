"""Drivers of tests: the command line in processes forked from one that has imported everything.

Importing torch, Ray, Optuna and MLflow takes longer than a small search; a drill that launches it
many times pays for that once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from mer_search.loso.ledger import Ledger

FORKS = multiprocessing.get_context("forkserver")
# Of this package alone: the process that forks does not know the folders of tests.
FORKS.set_forkserver_preload(
    [f"mer_search.{name}" for name in ("cli", "search.nested", "search.searcher", "search.worker",
                                       "search.live", "tracking.mirror")]
)  # fmt: skip
PATIENCE = 120


class Driver:
    """`mer-search ARGUMENTS` in a process of its own, and all that it says."""

    def __init__(self, *arguments: object, log: Path, environment: dict[str, str]) -> None:
        self.log = log
        line = [str(each) for each in arguments]
        self.process: BaseProcess = FORKS.Process(target=_run, args=(line, str(log), environment))
        self.process.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.join(PATIENCE)

    def ended(self, patience: float = PATIENCE) -> str:
        """What it said, after it has come to its end."""
        self.process.join(patience)
        told = self.log.read_text()
        assert self.process.exitcode is not None, f"no end within {patience} s: {told}"
        return told

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def code(self) -> int | None:
        return self.process.exitcode

    def wait_for(self, ledger: Ledger, blocks: int) -> None:
        """Until the ledger holds so many blocks."""
        until = time.monotonic() + PATIENCE
        while len(blocks_of(ledger)) < blocks:
            assert self.process.is_alive(), self.log.read_text()
            assert time.monotonic() < until, f"no block within {PATIENCE} s: {self.log.read_text()}"
            time.sleep(0.02)

    def wait_to_say(self, words: str) -> None:
        """Until it has said so."""
        until = time.monotonic() + PATIENCE
        while not self.log.exists() or words not in self.log.read_text():
            assert self.process.is_alive(), self.log.read_text()
            assert time.monotonic() < until, f"not said within {PATIENCE} s: {words}"
            time.sleep(0.02)


def _run(arguments: list[str], log: str, environment: dict[str, str]) -> None:
    """Runs in the forked process."""
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.environ.update(environment)
    os.chdir(Path(log).parent)
    from mer_search import cli

    with contextlib.redirect_stdout(os.fdopen(1, "w", buffering=1)):
        code = cli.run(arguments)
    sys.stdout.flush()
    sys.exit(code)


def blocks_of(ledger: Ledger) -> dict[str, tuple[int, bytes]]:
    """Every block file of a local ledger: when it was written, and its bytes."""
    found = {}
    for file in sorted(Path(ledger.root).glob("trials/*/block-*.npz")):
        place = str(file.relative_to(ledger.root))
        found[place] = (file.stat().st_mtime_ns, file.read_bytes())
    return found


def kept(before: dict[str, tuple[int, bytes]], ledger: Ledger) -> bool:
    """Whether every finished block of `before` is there as it was: neither lost nor recomputed."""
    after = blocks_of(ledger)
    return {place: after.get(place) for place in before} == before


def probs_of(ledger: Ledger) -> dict[tuple[int, int], bytes]:
    """The probabilities of every block by trial and index: equal in equal searches."""
    return {
        (record.number, index): np.ascontiguousarray(block.probs).tobytes()
        for record in ledger.trials()
        for index, block in ledger.blocks(record.number)[0].items()
    }
