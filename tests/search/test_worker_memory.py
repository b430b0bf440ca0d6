"""A worker that takes more memory than its node has is killed by Ray, and the trial says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray_head import head

from mer_search.loso.ledger import Ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
GIB = 1 << 30
ROOM, HOARD = 4 * GIB, 5 * GIB
"""What Ray may use beyond what is used now, and what a trial takes; its processes need 2 GB."""
HUNGRY = f"""
import sys
import time
from functools import partial

from mer_search import cli
from mer_search.search import driver, tuning, worker


class Hungry(worker.LosoTrial):
    def step(self):
        hoard = []
        for _ in range({HOARD >> 26}):
            hoard.append(b"1" * (1 << 26))
            time.sleep(0.05)
        return {{"failed": "nobody killed it", "done": True}}


tuning.RETRIES = 1
driver.tune_trials = partial(driver.tune_trials, trainable=Hungry)
sys.exit(cli.run(sys.argv[1:]))
"""


def memory() -> tuple[int, int]:
    """Bytes of this machine, and those that are available."""
    rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(rows[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))
    return total, free


def test_a_worker_killed_for_lack_of_memory_fails_its_trial_with_that_reason(
    tiny_space: Path, tmp_path: Path
) -> None:
    total, free = memory()
    if free < ROOM + HOARD:
        pytest.skip(f"{free / GIB:.1f} GiB are free; the drill wants {(ROOM + HOARD) / GIB:.0f}")
    limit = {
        "RAY_memory_usage_threshold": str((total - free + ROOM) / total),
        "RAY_memory_monitor_refresh_ms": "100",
        "MER_SEARCH_CACHE": str(tmp_path / "cache"),
    }
    script = tmp_path / "hungry.py"
    script.write_text(HUNGRY)
    ledger = Ledger(str(tmp_path / "store"), "tiny")
    with head(cpus=1, environment=limit) as running:
        line = [
            *(sys.executable, str(script), "launch", str(tiny_space), "--trials", "1"),
            *("--address", running.gcs, "--store", ledger.store, "--tracking", "none"),
        ]
        done = subprocess.run(
            line, check=False, capture_output=True, text=True, timeout=300,
            env={**os.environ, **running.environment},
        )  # fmt: skip
    told = done.stdout + done.stderr
    assert done.returncode == 1, told
    assert "1 trial failed before the first block and none succeeded" in told
    assert "Traceback" not in told
    (record,) = ledger.trials()
    assert record.state == "FAILED"
    assert record.reason.startswith("its worker was lost again and again: ")
    assert "running low on memory" in record.reason
    assert "running low on memory" in told
