"""The hosts of the drill with what runs on them, and the search that is sent to them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import services
import yaml
from hosts import BOUND, Network, end, wait_until

from mer_search.loso.ledger import FoldBlock, Ledger

STORE, NAME = "s3://lab/runs", "drill"
Blocks = dict[tuple[int, int], FoldBlock]
SPACE: dict[str, Any] = {
    "name": NAME,
    "features": {"align": {"method": "none"}, "backbone": {"name": "patches", "grid": 2}},
    "model": {"attention": {"choice": ["none", "spatial", "temporal"]},
              "lstm_size": {"choice": [8, 16]}, "attention_size": 4},
    "train": {"epochs": 100, "batch_size": 8,
              "learning_rate": {"float": [0.001, 0.02], "log": True}},
    "search": {"sampler": "random",
               "racing": {"rule": "none", "blocks": [1, 1, 1, 1, 1, 1]}},
}  # fmt: skip


class Lab:
    """A head, two workers, MLflow on PostgreSQL, an S3 store, a desk that submits, a neighbour."""

    def __init__(self, network: Network, *, trials: int) -> None:
        self.network, self.trials, self.known = network, trials, services.Secrets()
        names = ("head", "worker-1", "worker-2", "mlflow", "s3", "desk", "neighbour")
        self.head, self.one, self.two, self.mlflow, self.s3, self.desk, self.neighbour = (
            network.host(name) for name in names
        )
        self.ray = (self.head, self.one, self.two)
        self.tracking = f"http://{self.mlflow.address}:{services.MLFLOW}"
        for host in network.hosts:
            services.furnish(host)
        of_store = self.known.of_store(self.s3.address)
        for host in (*self.ray, self.desk):
            for each in (of_store, self.known.of_ray()):
                host.environment.update(each)
        self.mlflow.environment.update(of_store)
        self.server: subprocess.Popen[bytes] | None = None

    def start(self, manifest: Path) -> None:
        """All services, behind firewalls, and the tunnels to them; the data is the head's."""
        self.manifest = manifest
        self.protect()
        services.s3(self.s3)
        services.ray(self.head)
        services.postgres(self.mlflow, self.known)
        self.server = services.mlflow(self.mlflow, self.known)
        gcs = self.head.address, services.GCS
        wait_until(lambda: services.answers(self.one, *gcs), "Ray's head answers")
        for worker in (self.one, self.two):
            services.ray(worker, head=self.head)
        services.tunnel(self.head, services.DASHBOARD, at=self.desk)
        self.store_port = services.tunnel(self.s3, services.S3)
        self.mlflow_port = services.tunnel(self.mlflow, services.MLFLOW)
        there = self.network.own / manifest.relative_to(self.head.disk)
        space = {**SPACE, "data": {"reader": "manifest", "root": str(there)}}
        (self.desk.disk / "drill.yaml").write_text(yaml.safe_dump(space))
        for worker in (self.one, self.two):
            port = services.RAY_PORTS["node-manager-port"]
            joined = partial(services.answers, self.head, worker.address, port)
            wait_until(joined, f"{worker.name} has joined")
        wait_until(lambda: services.answers(self.head, "127.0.0.1", services.DASHBOARD), "jobs")
        wait_until(self.mlflow_answers, "MLflow answers")

    def protect(self) -> None:
        """The firewall that docs/cluster.md describes."""
        for host in self.ray:
            host.protect(self.ray, [])
        self.mlflow.protect([], [services.MLFLOW])
        self.s3.protect([], [services.S3])

    def access(self) -> dict[str, str]:
        """The environment that reaches the store from this machine."""
        local = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.store_port}"}
        return {**self.known.of_store(self.s3.address), **local}

    def submit(self, *, token: str = "") -> subprocess.Popen[bytes]:
        """Sends the search from the desk, and follows it into `submit.log`."""
        line = ["python", "-m", "mer_search", "submit", "drill.yaml", "--trials", self.trials,
                "--address", f"http://127.0.0.1:{services.DASHBOARD}", "--store", STORE,
                "--tracking", self.tracking]  # fmt: skip
        other = {"RAY_AUTH_TOKEN": token} if token else {}
        return self.desk.start(*line, log="submit.log", environment=other)

    def told(self) -> str:
        """What submitting has said so far."""
        return (self.desk.disk / "submit.log").read_text()

    def ledger(self) -> Ledger:
        """The search as it stands in the store; wants `access` in the environment."""
        return Ledger(STORE, NAME)

    def blocks(self) -> Blocks:
        """Every finished block."""
        ledger = self.ledger()
        return {
            (record.number, index): block
            for record in ledger.trials()
            for index, block in ledger.blocks(record.number)[0].items()
        }

    def wait_for_blocks(self, count: int, submitted: subprocess.Popen[bytes]) -> Blocks:
        """Until so many blocks are finished, while the search runs."""
        found: Blocks = {}

        def enough() -> bool:
            found.update(self.blocks())
            if submitted.poll() is not None and len(found) < count:
                raise RuntimeError(f"the search ended early: {self.told()}")
            return len(found) >= count

        wait_until(enough, f"{count} blocks")
        return found

    def restart_mlflow(self, away: float) -> None:
        """Kills MLflow's server and starts it again; its database goes on."""
        assert self.server is not None
        end(self.server)
        time.sleep(away)
        self.server = services.mlflow(self.mlflow, self.known)

    def kill_driver(self) -> None:
        """Ends the driver of the search as `kill -9` does."""
        words = b"\0-m\0mer_search\0launch\0"
        drivers = [pid for pid in self.head.pids() if words in _line_of(pid)]
        if not drivers:
            raise RuntimeError("no driver runs on the head")
        for each in drivers:
            os.kill(each, signal.SIGKILL)

    def mlflow_answers(self) -> bool:
        """Whether MLflow answers a question.

        Raises:
            RuntimeError: it has ended; its log says why.
        """
        if self.server is None or self.server.poll() is not None:
            raise RuntimeError(f"MLflow has ended, see {self.mlflow.disk / 'mlflow.log'}")
        try:
            return self.mlflow_asked("experiments/search", {"max_results": 1}) is not None
        except OSError:
            return False

    def runs(self) -> list[dict[str, str]]:
        """Tags and state of every run of a trial that MLflow shows."""
        known = self.mlflow_asked("experiments/search", {"max_results": 100})["experiments"]
        ids = [each["experiment_id"] for each in known]
        asked = {"experiment_ids": ids, "max_results": 1000}
        runs = self.mlflow_asked("runs/search", asked).get("runs", [])
        tags = [{each["key"]: each["value"] for each in run["data"]["tags"]} for run in runs]
        return [{**tag, "status": run["info"]["status"]}
                for tag, run in zip(tags, runs, strict=True) if tag.get("mer.trial")]  # fmt: skip

    def mlflow_asked(self, what: str, asked: dict[str, Any]) -> Any:
        """One call of MLflow's own interface."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.mlflow_port}/api/2.0/mlflow/{what}",
            json.dumps(asked).encode(), {"Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)


def alone(lab: Lab) -> subprocess.Popen[bytes]:
    """The same search on this machine without a cluster; its store is in the folder `alone`."""
    folder = lab.network.folder / "alone"
    line = [*BOUND, sys.executable, "-m", "mer_search", "launch", str(lab.desk.disk / "drill.yaml"),
            "--trials", str(lab.trials), "--store", str(folder / "store"), "--tracking", "none",
            "--set", f"data.root={lab.manifest}", "--set", "search.concurrency=1"]  # fmt: skip
    known = {**os.environ, "PYTHONPATH": str(services.SOURCES), "OMP_NUM_THREADS": "1",
             "MER_SEARCH_CACHE": str(folder / "cache")}  # fmt: skip
    known.pop("RAY_ADDRESS", None)
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(line, env=known, stdout=log, stderr=log, start_new_session=True)


def write_maps(folder: Path, *, subjects: int = 6, clips: int = 4) -> Path:
    """Two maps of 8x8x2 per clip, whose first channel tells the class; returns the manifest."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    with (folder / "maps.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["dataset", "subject", "clip", "label", "path", "frame"])
        for number in range(subjects * clips * 2):
            subject, clip, frame = number // (2 * clips), number // 2 % clips, number % 2
            values = rng.standard_normal((8, 8, 2)).astype(np.float32)
            values[..., 0] += clip % 2
            np.save(folder / f"{number}.npy", values)
            label = ("calm", "moved")[clip % 2]
            rows.writerow(["toy", f"s{subject}", f"c{clip}", label, f"{number}.npy", frame])
    return folder / "maps.csv"


def _line_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
