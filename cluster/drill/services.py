"""What runs on the hosts of the drill: Ray with a token, MLflow on PostgreSQL, S3, relays."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hosts import BOUND, Host, wait_until
from hosts import PATIENCE as PATIENCE

HERE = Path(__file__).parent
SOURCES = HERE.parents[1]
BIN = Path(sys.executable).parent
MLFLOW, S3, POSTGRES, GCS, DASHBOARD = 5000, 9000, 5432, 6379, 8265
# Ray picks some of these by itself, anew at every start; a firewall needs to know them.
RAY_PORTS = {
    "node-manager-port": 6380, "object-manager-port": 6381, "runtime-env-agent-port": 6382,
    "dashboard-agent-grpc-port": 6383, "dashboard-agent-listen-port": 6384,
    "metrics-export-port": 6385, "min-worker-port": 10100, "max-worker-port": 10199,
}  # fmt: skip
# A silent node is given up after about 15 s instead of a minute: nobody likes to wait in a drill.
HEALTH = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "2000"}
MOTO = "from moto.server import main; import sys; main(sys.argv[1:])"
KNOCK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
BUCKETS = """
import sys
from urllib.request import Request, urlopen
for name in ("lab", "mlflow"):
    urlopen(Request(f"{sys.argv[1]}/{name}", method="PUT"), timeout=10)
"""


class Secrets:
    """Of one drill; nobody else knows them, and they reach a host by its environment alone."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(32)
        self.database, self.s3 = secrets.token_hex(16), secrets.token_hex(16)

    def of_ray(self) -> dict[str, str]:
        """What a node or a client of the cluster brings."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def of_store(self, address: str) -> dict[str, str]:
        """What reaches the S3 store."""
        return {"AWS_ENDPOINT_URL": f"http://{address}:{S3}", "AWS_ACCESS_KEY_ID": "drill",
                "AWS_SECRET_ACCESS_KEY": self.s3, "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip


def furnish(host: Host, *more: Mapping[str, str]) -> None:
    """Gives a host the environment of a fresh login, and what `more` says."""
    own = str(host.network.own)
    host.environment = {
        "PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": own, "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCES), "PYTHONUNBUFFERED": "1",
        "MER_SEARCH_CACHE": f"{own}/cache", "RAY_USAGE_STATS_ENABLED": "0", **HEALTH,
        **{key: os.environ[key] for key in ("RAY_worker_niceness",) if key in os.environ},
    }  # fmt: skip
    for each in more:
        host.environment.update(each)


def answers(host: Host, address: str, port: int) -> bool:
    """Whether a port takes connections from this host."""
    return host.run("python", "-c", KNOCK, address, port, check=False).returncode == 0


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's own programs; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    path = shutil.which("postgres")
    return found[-1].parent if found else Path(path).resolve().parent if path else None


def postgres(host: Host, known: Secrets) -> None:
    """PostgreSQL on the host's loopback, as a user without rights."""
    programs = postgres_programs()
    assert programs is not None
    place = host.disk / "database"
    place.mkdir()
    secret = place.with_suffix(".secret")
    secret.write_text(known.database)
    for path in (place, secret):
        shutil.chown(path, "postgres")
    secret.chmod(0o600)
    own = host.network.own
    somebody = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    host.run(*somebody, programs / "initdb", "-D", own / "database", "-U", "mlflow", "--no-sync",
             "--auth=scram-sha-256", f"--pwfile={own / 'database.secret'}")  # fmt: skip
    host.start(*somebody, programs / "postgres", "-D", own / "database", "-p", POSTGRES,
               "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
               log="postgres.log")  # fmt: skip
    wait_until(lambda: answers(host, "127.0.0.1", POSTGRES), "PostgreSQL answers")


def mlflow(host: Host, known: Secrets) -> subprocess.Popen[bytes]:
    """MLflow on that database, its artifacts on the S3 store; the caller waits for it."""
    database = f"mlflow:{known.database}@127.0.0.1:{POSTGRES}/postgres"
    environment = {
        "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://{database}",
        # Seven processes for jobs that nobody asks for here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return host.start(
        "mlflow", "server", "--host", "0.0.0.0", "--port", MLFLOW, "--workers", 1,
        "--artifacts-destination", "s3://mlflow",
        "--allowed-hosts", f"{host.address}:{MLFLOW},127.0.0.1:*",
        log="mlflow.log", environment=environment,
    )  # fmt: skip


def s3(host: Host) -> None:
    """An S3 server that keeps its objects in memory, with two buckets."""
    host.start("python", "-c", MOTO, "-H", "0.0.0.0", "-p", S3, log="s3.log")
    wait_until(lambda: answers(host, "127.0.0.1", S3), "the S3 store answers")
    host.run("python", "-c", BUCKETS, f"http://127.0.0.1:{S3}")


def ray(host: Host, *more: str, head: Host | None = None) -> subprocess.Popen[bytes]:
    """`ray start`: the head, which runs no trials, or a worker of one core."""
    role: Sequence[object]
    if head is None:
        role = ["--head", f"--port={GCS}", "--num-cpus=0", "--dashboard-host=127.0.0.1",
                f"--dashboard-port={DASHBOARD}", "--ray-client-server-port=10001"]  # fmt: skip
    else:
        role = [f"--address={head.address}:{GCS}", "--num-cpus=1", "--include-log-monitor=false"]
    ports = [f"--{name}={port}" for name, port in RAY_PORTS.items()]
    return host.start(
        "ray", "start", "--block", f"--node-ip-address={host.address}", *role, *ports,
        "--object-store-memory=80000000", "--num-gpus=0", *more, log="ray.log",
    )  # fmt: skip


def tunnel(host: Host, port: int, *, at: Host | None = None, to: int | None = None) -> int:
    """Leads a port of a host's loopback to that of another host, or of this machine (None).

    It stands for `ssh -L`: nothing of it passes the network or a firewall.

    Returns:
        The port at the near end.
    """
    file = host.network.folder / f"{host.name}-{port}"
    if not file.exists():
        host.start("python", HERE / "relay.py", file, port, log="relay.log")
        wait_until(file.exists, f"a relay on {host.name}")
    if at is not None:
        near = to or port
        at.start("python", HERE / "relay.py", near, file, log="relay.log")
        wait_until(lambda: answers(at, "127.0.0.1", near), f"a relay on {at.name}")
        return near
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        near = int(free.getsockname()[1])
    command = [*BOUND, sys.executable, str(HERE / "relay.py"), str(near), str(file)]
    host.processes.append(subprocess.Popen(command, start_new_session=True))
    return near
