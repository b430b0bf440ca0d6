"""The Dockerfile and the compose file are what their readers accept, and hold no secret."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = ROOT / "docker" / "compose.yaml"
BIN = Path(sys.executable).parent


def has_compose() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    asked = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    return asked.returncode == 0


def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(
        [BIN / "hadolint", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_image_runs_as_nobody_special_and_knows_its_health() -> None:
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", last, re.MULTILINE)
    assert "-c constraints.txt" in DOCKERFILE.read_text()


def test_only_what_the_image_needs_reaches_the_builder() -> None:
    first, *kept = (ROOT / ".dockerignore").read_text().split()
    assert first == "*"
    copied = re.findall(
        r"^COPY (?!--from)(?:--\S+ )*(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE
    )
    wanted = {name for line in copied for name in line.split()}
    assert wanted == {each[1:] for each in kept if each.startswith("!")}


def test_services_publish_nothing_beyond_this_machine_and_hold_no_secret() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    ports = [port for each in services.values() for port in each.get("ports", ())]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)
    secret = re.compile(r"(PASSWORD|SECRET|TOKEN|_KEY)$")
    values = {
        value
        for each in services.values()
        for name, value in each.get("environment", {}).items()
        if secret.search(name)
    }
    assert values
    assert all(re.fullmatch(r"\$\{\w+:\?see docker/env\.example\}", value) for value in values)
    example = (ROOT / "docker" / "env.example").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text()))
    assert asked == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


@pytest.mark.skipif(not has_compose(), reason="docker compose is not on this machine")
def test_compose_reads_its_file(tmp_path: Path) -> None:
    values = re.sub(r"=$", "=x", (ROOT / "docker" / "env.example").read_text(), flags=re.MULTILINE)
    (tmp_path / "env").write_text(values)
    line = ["docker", "compose", "-f", str(COMPOSE), "--env-file", str(tmp_path / "env"), "config"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
