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


def compose() -> list[str]:
    """A compose that can be asked without an engine: the plugin, or Debian's `docker-compose`."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        asked = subprocess.run([*command, "version"], capture_output=True, check=False)
        if asked.returncode == 0:
            return command
    return []


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


@pytest.mark.slow
@pytest.mark.skipif(not compose(), reason="neither docker compose nor docker-compose is here")
def test_compose_reads_its_file_and_asks_for_every_secret(tmp_path: Path) -> None:
    text = COMPOSE.read_text()
    if compose() == ["docker-compose"]:  # Debian's is older than the project's name in the file
        text = re.sub(r"^name: .*\n", "", text, flags=re.MULTILINE)
    (tmp_path / "compose.yaml").write_text(text)
    example = (ROOT / "docker" / "env.example").read_text()
    line = [*compose(), "-f", "compose.yaml", "--env-file", "env", "config"]
    (tmp_path / "env").write_text(re.sub(r"=$", "=x", example, flags=re.MULTILINE))
    whole = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert set(yaml.safe_load(whole.stdout)["services"]) == {
        "postgres", "s3", "mlflow", "ray-head", "ray-worker", "driver"
    }  # fmt: skip
    (tmp_path / "env").write_text(example)
    bare = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert bare.returncode != 0
    assert "see docker/env.example" in bare.stderr
