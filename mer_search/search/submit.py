"""Sends a search to a cluster as a Ray job, and follows the log of that job.

The job is an ordinary `launch --address auto` on the cluster, so everything that holds for a
launch holds for it. Not for running trials.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import yaml
from fsspec.implementations.local import LocalFileSystem

import mer_search
from mer_search.errors import InputError, MerSearchError
from mer_search.experiment import Experiment

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

PACKAGE = Path(mer_search.__file__).parent
LEFT_OUT = ["**/__pycache__/**", "**/*.pyc"]
ALIVE = ("PENDING", "RUNNING")
PATIENCE = 5
"""Times in a row that the job server may be away while its log is followed."""
PAUSE = 2.0
"""Seconds before the job server is asked again."""


@dataclass(frozen=True)
class Job:
    """A search on its way.

    Attributes:
        id: what Ray calls the job.
        found: it ran already and was not started by this call.
    """

    client: JobSubmissionClient
    id: str
    found: bool


def connect(address: str) -> JobSubmissionClient:
    """The job server at `HOST:PORT` or a URL; a token comes from where Ray looks for it.

    Raises:
        InputError: the server asks for a token and got none, or a wrong one.
        MerSearchError: nobody answers, or Ray's job client is not installed.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # Ray prefers them to the argument
        os.environ.pop(name, None)
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray").setLevel(logging.ERROR)  # told in our own words below
    url = address if "://" in address else f"http://{address}"
    if not url.startswith(("http://", "https://")):
        raise InputError("--address", f"{address!r} is no job server; write http://HOST:8265")
    try:
        return JobSubmissionClient(url)
    except AuthenticationError as fault:
        raise InputError(
            "--address",
            f"the job server {url} refuses this token ({str(fault).splitlines()[0]}); put the "
            "cluster's token into RAY_AUTH_TOKEN, a file named by RAY_AUTH_TOKEN_PATH, or "
            "~/.ray/auth_token",
        ) from fault
    except (ConnectionError, ImportError) as fault:
        raise MerSearchError(
            f"no job server answers at {url} ({fault}); is the cluster up and the tunnel open? "
            "See docs/cluster.md"
        ) from fault
    except RuntimeError as fault:  # an old Ray, no Ray at all, or ray[default] is not installed
        raise MerSearchError(f"{url} is no job server that can be used: {fault}") from fault


def submit(
    experiment: Experiment,
    client: JobSubmissionClient,
    *,
    store: str,
    tracking: str | None = None,
    device: str = "cpu",
    warm_start: str | None = None,
) -> Job:
    """Starts the search on the cluster, or finds the job that runs it already.

    The package and the file, every setting spelled out, travel with the job: what is installed
    on the nodes besides is Python, Ray and the libraries.

    Raises:
        InputError: places that are relative to this folder, which no node has.
    """
    store = str(store)
    check_places(experiment, store, tracking)
    mark = {"mer-search": experiment.name, "store": store}
    for each in client.list_jobs():
        known = each.metadata or {}
        if each.submission_id and each.status in ALIVE and mark.items() <= known.items():
            return Job(client, each.submission_id, found=True)
    with tempfile.TemporaryDirectory(prefix="mer-search-job-") as folder:
        file = Path(folder) / f"{experiment.name}.yaml"
        file.write_text(yaml.safe_dump(experiment.as_file(), sort_keys=False))
        command = ["python", "-m", "mer_search", "launch", file.name, "--address", "auto"]
        command += ["--store", store, "--device", device]
        command += ["--tracking", tracking] if tracking else []
        command += ["--warm-start", warm_start] if warm_start else []
        runtime: dict[str, Any] = {
            "working_dir": folder,
            "py_modules": [str(PACKAGE)],
            "excludes": LEFT_OUT,
        }
        job = client.submit_job(entrypoint=shlex.join(command), runtime_env=runtime, metadata=mark)
    return Job(client, job, found=False)


def check_places(experiment: Experiment, store: str, tracking: str | None) -> None:
    """Raises InputError with every place that only this folder knows, or that needs another."""
    faults = []
    if not _anywhere(store):
        faults.append(
            f"--store {store!r} is relative to this folder, and the job runs in another; give a "
            "path or an address that every node sees, for example s3://BUCKET/mer-runs"
        )
    elif not tracking and not _is_local(store):
        faults.append(
            f"the store {store} is no folder, where MLflow would keep its SQLite file; give "
            "--tracking http://HOST:PORT or --tracking none"
        )
    if not _anywhere(experiment.data.root):
        faults.append(
            f"data.root {experiment.data.root!r} is relative to this folder; give the path as the "
            "cluster's head sees it, with --set data.root=/PATH or in the file"
        )
    if faults:
        raise InputError("submit", faults)


def _anywhere(place: str) -> bool:
    return "://" in place or Path(place).is_absolute()


def _is_local(place: str) -> bool:
    protocol = fsspec.core.split_protocol(place)[0]
    return protocol is None or protocol in LocalFileSystem.protocol


def follow(job: Job, shows: Callable[[str], None]) -> int:
    """Passes on the job's log until the job ends; returns its exit code.

    Raises:
        MerSearchError: the job was stopped or lost, or the job server stays away.
    """
    asyncio.run(_tail(job, shows))
    info = job.client.get_job_info(job.id)
    if info.driver_exit_code is not None and info.status in ("SUCCEEDED", "FAILED"):
        return int(info.driver_exit_code)
    told = (info.message or "no cause is known").strip().splitlines()[-1]
    raise MerSearchError(
        f"job {job.id} ended as {info.status}: {told}; submitting again continues the search, no "
        "finished fold is lost"
    )


def _leave_if_asked() -> None:
    """Ctrl-C cancels the task once; whoever caught that on the way has not ended the following."""
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


async def _tail(job: Job, shows: Callable[[str], None]) -> None:
    """The log once, however often the connection breaks: the server begins it anew each time."""
    from aiohttp import ClientError

    shown, away = 0, 0
    while True:
        seen = 0
        try:
            async for text in job.client.tail_job_logs(job.id):
                _leave_if_asked()
                away, seen = 0, seen + len(text)
                if seen > shown:
                    shows(text[max(0, len(text) - (seen - shown)) :])
                    shown = seen
            ended = job.client.get_job_info(job.id).status not in ALIVE
            _leave_if_asked()
            if ended:
                return
        except (ClientError, RuntimeError, OSError) as fault:
            _leave_if_asked()
            away += 1
            if away > PATIENCE:
                raise MerSearchError(
                    f"the job server stays away ({fault}); job {job.id} may go on without it: the "
                    "same command finds it again, `mer-search status` reads the store"
                ) from fault
        await asyncio.sleep(PAUSE)
