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
# A head that only listens, and a driver that ends when it is asked to.
STAND_IN_RAY = """#!/bin/bash
echo "token of ${#RAY_AUTH_TOKEN}, mode $RAY_AUTH_MODE: $@" >> "$STUB/ray.log"
for word; do [[ $word == --port=* ]] && exec "$REAL" -c '
import socket, sys, time
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)' "${word#--port=}"; done
exec sleep 600
"""
STAND_IN_DRIVER = """#!/bin/bash
[[ "$1 $2" != "-m mer_search" ]] && exec "$REAL" "$@"
echo "driver of $@"
trap 'echo ending; sleep 0.3; echo ended; exit 130' TERM
touch "$STUB/begun"
[[ -n $CODE ]] && exit "$CODE"
while true; do sleep 0.1; done
"""


@pytest.fixture
def stand_ins(slurm: dict[str, str]) -> dict[str, str]:
    """Neither Ray nor a search: only what the script itself does."""
    for name, text in (("ray", STAND_IN_RAY), ("python", STAND_IN_DRIVER)):
        (Path(slurm["STUB"]) / name).write_text(text)
        (Path(slurm["STUB"]) / name).chmod(stat.S_IRWXU)
    return {**slurm, "REAL": sys.executable, "CODE": "", "SPACE": "tiny"}


@pytest.mark.slow
def test_the_script_waits_for_the_driver_requeues_and_leaves_nothing_running(
    stand_ins: dict[str, str], tmp_path: Path
) -> None:
    stub = Path(stand_ins["STUB"])
    with subprocess.Popen(
        ["bash", str(SCRIPT), "--trials", "3"],
        env=stand_ins, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as job:  # fmt: skip
        until = time.monotonic() + 60
        while not (stub / "begun").exists():
            assert job.poll() is None, job.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        job.send_signal(signal.SIGUSR1)
        told, _ = job.communicate(timeout=60)
    assert job.returncode == 0
    assert told.splitlines()[1:] == [
        "ending", "ended", "the time limit is near: the search goes on in the requeued job"
    ]  # fmt: skip
    assert "launch tiny --address 127.0.0.1:" in told
    assert told.splitlines()[0].endswith(f"--store {stand_ins['STORE']} --tracking none --trials 3")
    assert f"requeue {stand_ins['SLURM_JOB_ID']}" in (stub / "scontrol.log").read_text()
    started = (stub / "ray.log").read_text().splitlines()
    assert len(started) == 2
    assert all(line.startswith("token of 64, mode token: start ") for line in started)
    assert not list(Path("/tmp").glob(f"mer-ray-{stand_ins['SLURM_JOB_ID']}-*"))


@pytest.mark.slow
@pytest.mark.parametrize("code", ["2", "0"])
def test_the_script_ends_as_the_driver_does(
    stand_ins: dict[str, str], tmp_path: Path, code: str
) -> None:
    done = subprocess.run(
        ["bash", str(SCRIPT)], env={**stand_ins, "CODE": code}, cwd=tmp_path, timeout=60,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == int(code)
    assert "requeue" not in (Path(stand_ins["STUB"]) / "scontrol.log").read_text()


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
