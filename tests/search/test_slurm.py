"""The Slurm script under a stand-in for `srun`: two nodes here, a time limit, a requeued job."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster/slurm/mer-search.sbatch"
# Its options are Slurm's, the command begins at the first word without a dash.
SRUN = """#!/bin/bash
echo "$@" >> "$STUB/srun.log"
while [[ $1 == -* ]]; do shift; done
[[ $1 == hostname ]] && { echo 127.0.0.1; exit; }
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo "$@" >> "$STUB/scontrol.log"
[[ $1 == show ]] && printf 'here-1\\nhere-2\\n'
exit 0
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment that Slurm gives a job, with stand-ins first on the path."""
    stub = tmp_path / "stub"
    stub.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (stub / name).write_text(text)
        (stub / name).chmod(stat.S_IRWXU)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return {
        **kept,
        "STUB": str(stub),
        "PATH": f"{stub}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(10_000 + os.getpid() % 9_000),
        "SLURM_JOB_NODELIST": "here-[1-2]",
        "SLURM_CPUS_PER_TASK": "1",
        "ACTIVATE": "",
        "STORE": str(tmp_path / "store"),
        "MER_SEARCH_CACHE": str(tmp_path / "cache"),
    }


@pytest.mark.ray
def test_a_job_at_its_time_limit_requeues_itself_and_the_next_one_finishes(
    slurm: dict[str, str], tiny_space: Path, tmp_path: Path
) -> None:
    ledger = Ledger(slurm["STORE"], "tiny")
    line = ["bash", str(SCRIPT), "--trials", "3"]
    slurm["SPACE"] = str(tiny_space)
    first = subprocess.Popen(
        line, env=slurm, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 150
    while not list(Path(ledger.root).glob("trials/*/block-*.npz")):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)
    first.send_signal(signal.SIGUSR1)
    told, _ = first.communicate(timeout=120)
    assert first.returncode == 0, told
    assert "ending after the running blocks" in told
    assert "the search goes on in the requeued job" in told
    assert f"requeue {slurm['SLURM_JOB_ID']}" in (tmp_path / "stub" / "scontrol.log").read_text()
    asked = (tmp_path / "stub" / "srun.log").read_text()
    assert "--nodelist=here-1" in asked
    assert "--nodelist=here-2" in asked
    assert "RAY_AUTH_TOKEN" not in asked
    done = sum(len(ledger.blocks(each.number)[0]) for each in ledger.trials())
    again = subprocess.run(
        line, env=slurm, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert done < 18
    assert "search tiny (continued)" in again.stdout
    assert [each.complete for each in read_results(ledger)] == [True] * 3
