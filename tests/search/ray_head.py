"""A real Ray head on loopback that asks for a token; ended by the ids of its own processes."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

RAY = str(Path(sys.executable).with_name("ray"))
SOURCES = str(Path(__file__).parents[2])
TOKEN = secrets.token_hex(32)  # one for all: the process that forks drivers reads it once


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass(frozen=True)
class Head:
    """Where it is and what a client has to bring."""

    gcs: str
    jobs: str
    token: str
    environment: dict[str, str]
    pid: int


@contextmanager
def head(
    *options: str, cpus: int = 2, environment: Mapping[str, str] | None = None
) -> Iterator[Head]:
    """`ray start --head --block` in its own process group, with ports of its own."""
    gcs, dashboard, agent, listen, metrics = free_ports(5)
    # A Ray socket's path may have 107 characters: pytest's own folders are too deep for it.
    with tempfile.TemporaryDirectory(
        prefix="mer-ray-", dir="/tmp", ignore_cleanup_errors=True
    ) as place:
        known = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **(environment or {}),
        }
        known.pop("RAY_ADDRESS", None)
        command = [RAY, "start", "--head", "--block", f"--num-cpus={cpus}",
                   "--node-ip-address=127.0.0.1", f"--port={gcs}", f"--temp-dir={place}",
                   "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
                   f"--dashboard-agent-grpc-port={agent}", f"--metrics-export-port={metrics}",
                   f"--dashboard-agent-listen-port={listen}", "--object-store-memory=200000000",
                   *options]  # fmt: skip
        with (Path(place) / "head.log").open("w+") as log:
            process = subprocess.Popen(
                command, env=known, stdout=log, stderr=log, start_new_session=True
            )
            try:
                _wait(process, dashboard, log.name)
                yield Head(
                    f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}", TOKEN, known, process.pid
                )
            finally:
                end(process)


@contextmanager
def node(
    running: Head,
    *options: str,
    cpus: int = 1,
    environment: Mapping[str, str] | None = None,
    hidden: tuple[Path, ...] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """`ray start --address` as one more node; it sees empty folders in place of the hidden ones."""
    known = {**running.environment, **(environment or {})}
    start = [RAY, "start", f"--address={running.gcs}", "--block", "--node-ip-address=127.0.0.1",
             f"--num-cpus={cpus}", "--object-store-memory=100000000", *options]  # fmt: skip
    if hidden:
        mounts = " && ".join(f"mount -t tmpfs none {shlex.quote(str(each))}" for each in hidden)
        start = ["unshare", "-m", "sh", "-c", f'{mounts} && exec "$@"', "sh", *start]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            start, env=known, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
        try:
            _joined(process, log.fileno())
            yield process
        finally:
            if process.poll() is None:
                end(process)


def can_hide() -> bool:
    """Whether this user may give a process a view of the files of its own."""
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a `ray start --block` and what it started: its own descendants, by id."""
    family = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _kill(family)


def _joined(process: subprocess.Popen[bytes], log: int) -> None:
    """Waits until the node says so, in a log whose place of writing it shares with this process."""
    until = time.monotonic() + 60
    while b"Ray runtime started" not in (told := os.pread(log, 1 << 20, 0)):
        assert process.poll() is None, told.decode()
        assert time.monotonic() < until, f"no node within 60 s: {told.decode()}"
        time.sleep(0.05)


def vanish(process: subprocess.Popen[bytes]) -> None:
    """A node whose power is cut."""
    _kill([*descendants(process.pid), process.pid])
    process.wait()


def _kill(family: list[int]) -> None:
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def descendants(root: int) -> list[int]:
    """Ids of the processes below `root`."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    family = {root}
    while wider := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= wider
    return sorted(family - {root})


def _wait(process: subprocess.Popen[bytes], dashboard: int, log: str) -> None:
    """Until the job server answers at all (401 is an answer)."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        assert process.poll() is None, Path(log).read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{dashboard}/api/version", timeout=5)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"no job server after 90 s: {Path(log).read_text()}")
