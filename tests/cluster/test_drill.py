"""A search over hosts with addresses of their own, while cables, hosts, MLflow and driver fail."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import services
from access import refused, scanned
from drill import Faults, lacking, running
from lab import Lab
from s3fs import S3FileSystem

LACKING = lacking()
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(LACKING), reason=LACKING),
]
DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    S3FileSystem.clear_instance_cache()  # of another test's server
    with running(trials=6) as found:
        yield found
    shutil.rmtree(found.network.folder)
    S3FileSystem.clear_instance_cache()


def named(column: int) -> dict[str, set[int]]:
    """Ports by host as the table of docs/cluster.md names them; column 1 for anybody, 2 for Ray."""
    section = DOCS.read_text().partition("\n## Ports")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in section.splitlines() if line.startswith("| ")]  # fmt: skip
    found: dict[str, set[int]] = {}
    for row in rows[1:]:
        ports = found.setdefault(row[0], set())
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", row[column]):
            ports |= set(range(int(first), int(last or first) + 1))
    return found


def test_nobody_without_the_token_is_let_in(lab: Lab) -> None:
    assert set(refused(lab).values()) == {"refused"}
    assert "refuses this token" in lab.told()
    assert "Traceback" not in lab.told()


def test_a_neighbour_sees_only_the_ports_that_the_docs_name(lab: Lab) -> None:
    kinds = {"head": "head", "worker-1": "worker", "mlflow": "MLflow", "s3": "S3 store"}
    everybody, members = named(1), named(2)
    for name, ports in scanned(lab, by=lab.neighbour).items():
        assert set(ports) == everybody[kinds[name]], f"{name} as a neighbour sees it"
    for name, ports in scanned(lab, by=lab.two).items():
        kind = kinds[name]
        assert set(ports) <= everybody[kind] | members[kind], f"{name} as a worker sees it"
        assert services.DASHBOARD not in ports
        assert (services.RAY_PORTS["node-manager-port"] in ports) == (kind in ("head", "worker"))


def test_a_search_survives_all_faults_and_equals_that_of_one_machine(lab: Lab) -> None:
    faults = Faults(lab, cut=3.0)  # short: the search has to be under way at every fault
    try:
        for step in faults.steps:
            step()
    finally:
        faults.close()
    # Each step asserts for itself; together they left nothing undone and nothing lost.
    assert set(faults.before) <= set(lab.blocks())
    assert {trial.state for trial in lab.ledger().trials()} == {"COMPLETE"}
