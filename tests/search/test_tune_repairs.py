"""What a search leaves behind in its driver's memory, trial by trial."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TRIALS = 9
COUNTED = """
import gc
import os
import sys

from mer_search.search.cluster import RAY

os.environ.update(RAY)  # Ray reads its settings when it is imported

import mer_search
from mer_search.search.book import Book
from ray.tune.experiment import Trial

end, alive = Book.end, []


def counted(self, *given, **more):
    end(self, *given, **more)
    gc.collect()
    alive.append(sum(type(each) is Trial for each in gc.get_objects()))


Book.end = counted
space, store, trials = sys.argv[1:]
more = {"train.epochs": 1, "search.concurrency": 2}
mer_search.launch(space, trials=int(trials), store=store, tracking="none", settings=more)
print("alive", *alive)
"""


@pytest.mark.ray
def test_tune_keeps_only_the_trials_that_are_under_way(
    tiny_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "cache"))
    line = [sys.executable, "-c", COUNTED, str(tiny_space), str(tmp_path / "runs"), str(TRIALS)]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=240, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (told,) = (each for each in done.stdout.splitlines() if each.startswith("alive "))
    alive = [int(each) for each in told.split()[1:]]
    assert len(alive) == TRIALS
    assert max(alive) <= 5  # two that run, one that waits, those that have just ended
