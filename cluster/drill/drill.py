"""The drill: a search over hosts with addresses of their own, while things fail.

Edit: nothing. Wants root, iproute2, iptables, PostgreSQL, and mer-search with its `test` extra.
Command: python cluster/drill/drill.py [--trials 10] [--cut 8]

Each step prints what held; the first that does not hold ends the drill with exit code 1. Every
process is ended by its id and every namespace removed; the logs stay in the folder that is named.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import services
from access import refused, scanned
from hosts import Network, end, missing, wait_until
from lab import NAME, Blocks, Lab, alone, write_maps

from mer_search.loso.ledger import Ledger

LIMIT = 300.0
"""Seconds a search may take to its end."""
MORE = 3
"""Finished blocks after which a search is taken to go on."""


def lacking() -> str:
    """Why the drill cannot be held on this machine, or ""."""
    if reason := missing():
        return reason
    return "" if services.postgres_programs() else "PostgreSQL is not installed"


@contextmanager
def running(*, trials: int) -> Iterator[Lab]:
    """All hosts with what runs on them; none of it is left afterwards, logs apart."""
    network, before = Network(), dict(os.environ)
    try:
        lab = Lab(network, trials=trials)
        lab.start(write_maps(lab.head.disk / "maps"))
        os.environ.update(lab.access())
        yield lab
    finally:
        network.close()
        os.environ.clear()
        os.environ.update(before)


class Faults:
    """One search, what is done to it in this order, and what has to hold in the end."""

    def __init__(self, lab: Lab, *, cut: float) -> None:
        self.lab, self.seconds = lab, cut
        self.comparison = alone(lab)
        self.submitted = lab.submit()
        self.before: Blocks = {}

    def goes_on(self) -> None:
        """More blocks are finished."""
        count = len(self.before) + MORE
        self.before = {**self.lab.wait_for_blocks(count, self.submitted), **self.before}

    def cut(self) -> None:
        """A worker's cable is pulled and put back."""
        lab, host = self.lab, self.lab.one
        host.cut()
        begun = time.monotonic()
        assert not services.answers(host, lab.head.address, services.GCS), "the cable is pulled"
        time.sleep(max(0.0, self.seconds - (time.monotonic() - begun)))
        host.mend()
        wait_until(lambda: services.answers(host, lab.head.address, services.GCS), "it is back")

    def lose(self) -> None:
        """A worker is switched off for good."""
        self.lab.two.switch_off()

    def restart_mlflow(self) -> None:
        """MLflow is killed, stays away for a while and starts again."""
        self.lab.restart_mlflow(1.0)

    def kill_driver(self) -> None:
        """The driver is killed, and the same command sends the search again."""
        self.lab.kill_driver()
        self.submitted.wait(LIMIT)
        assert self.submitted.returncode, "who follows a killed driver is told by the exit code"
        self.submitted = self.lab.submit()

    def finish(self) -> None:
        """The search comes to its end with all its trials."""
        self.submitted.wait(LIMIT)
        assert self.submitted.returncode == 0, self.lab.told()
        states = [each.state for each in self.lab.ledger().trials()]
        assert states == ["COMPLETE"] * self.lab.trials, states

    def nothing_twice(self) -> None:
        """Every block that was finished before a fault is there as it was."""
        after = self.lab.blocks()
        again = [place for place, block in self.before.items()
                 if after[place].finished != block.finished]  # fmt: skip
        assert self.before, "something was finished before"
        assert again == [], f"computed again: {again}"

    def equal(self) -> None:
        """Parameters and probabilities are those of the same search on one machine."""
        self.comparison.wait(LIMIT)
        folder = self.lab.network.folder / "alone"
        assert self.comparison.returncode == 0, (folder / "log").read_text()
        here, there = Ledger(str(folder / "store"), NAME), self.lab.ledger()
        ours, theirs = ({t.number: t.params for t in each.trials()} for each in (here, there))
        assert ours == theirs
        for number in ours:
            one, other = here.blocks(number)[0], there.blocks(number)[0]
            assert one.keys() == other.keys(), f"trial {number} has the blocks {sorted(other)}"
            for index, block in one.items():
                assert block.keys == other[index].keys
                np.testing.assert_allclose(other[index].probs, block.probs, rtol=0, atol=1e-5)

    def shown_once(self) -> None:
        """MLflow shows every trial, finished, and none twice."""

        def seen() -> bool:
            runs = self.lab.runs()
            numbers = sorted(int(each["mer.trial"]) for each in runs)
            done = all(each["status"] == "FINISHED" for each in runs)
            return done and numbers == list(range(self.lab.trials))

        wait_until(seen, f"{self.lab.trials} finished runs in MLflow", 60)

    def close(self) -> None:
        """Ends what this drill compares with."""
        end(self.comparison)

    @property
    def steps(self) -> list[Callable[[], None]]:
        """The drill."""
        return [
            self.goes_on, self.cut, self.goes_on, self.lose, self.goes_on, self.restart_mlflow,
            self.goes_on, self.kill_driver, self.finish, self.nothing_twice, self.equal,
            self.shown_once,
        ]  # fmt: skip


def held(step: Callable[[], object]) -> object:
    """Does a step and says what held."""
    begun = time.monotonic()
    found = step()
    sentence = str(step.__doc__).partition("\n")[0]
    sys.stdout.write(f"{time.monotonic() - begun:6.1f} s  {sentence}\n")
    sys.stdout.flush()
    return found


def main() -> int:
    """The whole drill by hand."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--cut", type=float, default=8.0, help="seconds without a cable")
    asked = parser.parse_args()
    if reason := lacking():
        sys.stderr.write(f"the drill cannot be held here: {reason}\n")
        return 2
    with running(trials=asked.trials) as lab:
        sys.stdout.write(f"logs of every host: {lab.network.folder}/disks\n")
        sys.stdout.write(f"what answers without the token: {refused(lab)}\n")
        for who in (lab.two, lab.neighbour):
            sys.stdout.write(f"ports that answer {who.name}: {scanned(lab, by=who)}\n")
        faults = Faults(lab, cut=asked.cut)
        try:
            for step in faults.steps:
                held(step)
        except (AssertionError, TimeoutError, RuntimeError, subprocess.SubprocessError) as fault:
            sys.stderr.write(f"did not hold: {fault}\n")
            return 1
        finally:
            faults.close()
    return 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
