"""Who is let in: clients without the token, and a scan from a host outside the cluster."""

from __future__ import annotations

import json

import services
from hosts import Host, wait_until
from lab import Lab

ASK = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        urllib.request.urlopen(urllib.request.Request(url, data=b"{}"), timeout=20)
        print("let in")
    except urllib.error.HTTPError as fault:
        print("let in" if fault.code not in (401, 403) else "refused")
"""


def refused(lab: Lab) -> dict[str, str]:
    """What becomes of clients that reach a port and bring no token, or a wrong one."""
    agent = services.RAY_PORTS["dashboard-agent-listen-port"]
    jobs = f"http://127.0.0.1:{services.DASHBOARD}"
    submitting = lab.submit(token="f" * 64)
    submitting.wait(services.PATIENCE)
    own = lab.desk.run("python", "-c", ASK, f"{jobs}/api/jobs/", f"{jobs}/api/version")
    member = f"http://{lab.head.address}:{agent}/api/job_agent/jobs/"
    # Ray starts agents last; a node takes work before its own listens.
    there = lab.head.address, agent
    wait_until(lambda: services.answers(lab.one, *there), "the head's agent answers")
    beside = lab.one.run("python", "-c", ASK, member)
    nothing = {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": ""}
    gcs = lab.one.run("ray", "health-check", "--address", f"{lab.head.address}:{services.GCS}",
                      environment=nothing, check=False)  # fmt: skip
    jobs_told, version = own.stdout.split("\n")[:2]
    return {
        "submit with a wrong token": "refused" if submitting.returncode == 2 else "let in",
        "the job server": jobs_told,
        "the dashboard": version,
        "a node's agent": beside.stdout.strip(),
        "Ray itself": "refused" if gcs.returncode else "let in",
    }


def scanned(lab: Lab, *, by: Host) -> dict[str, list[int]]:
    """The TCP ports of each host that take a connection from `by`."""
    hosts = [lab.head, lab.one, lab.mlflow, lab.s3]
    addresses = [host.address for host in hosts]
    found = json.loads(by.run("python", services.HERE / "scan.py", *addresses).stdout)
    return {host.name: found[host.address] for host in hosts}
