"""The launch files are what their readers accept: Ray, Kubernetes, KubeRay, a shell, YAML."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from yamllint import linter
from yamllint.config import YamlLintConfig

from mer_search import __version__, space_file

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("cluster/**/*.yaml"), *ROOT.glob("docker/*.yaml")])
RAY_UP = sorted(ROOT.glob("cluster/ray-up/*.yaml"))
KUBERNETES = sorted(ROOT.glob("cluster/kubernetes/*.yaml"))
SCRIPTS = sorted([*ROOT.glob("cluster/**/*.sbatch"), *ROOT.glob("**/docker/*.sh")])
SCHEMAS = next(
    (p / "shared/schemas" for p in ROOT.parents if (p / "shared/schemas").is_dir()), None
)
BIN = Path(sys.executable).parent


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def objects(file: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(file.read_text()) if each]


def test_the_folders_hold_what_the_tests_read() -> None:
    assert [len(RAY_UP), len(KUBERNETES)] == [3, 5]
    assert name_of(SCRIPTS[0]) == "cluster/slurm/mer-search.sbatch"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_yaml_is_clean(file: Path) -> None:
    config = YamlLintConfig((ROOT / "cluster" / ".yamllint").read_text())
    assert [str(each) for each in linter.run(file.read_text(), config)] == []


@pytest.mark.parametrize("file", [*FILES, *SCRIPTS], ids=name_of)
def test_a_file_opens_with_what_to_edit_and_the_command(file: Path) -> None:
    head = [line for line in file.read_text().splitlines()[:9] if line.startswith("#")]
    assert any(line.startswith("# Edit: ") for line in head)
    assert any(line.startswith("# Command: ") for line in head)


@pytest.mark.parametrize("file", RAY_UP, ids=name_of)
def test_ray_accepts_the_files_of_ray_up(file: Path) -> None:
    config = yaml.safe_load(file.read_text())
    validate_config(prepare_config(config))
    commands = " ".join(config["head_start_ray_commands"] + config["setup_commands"])
    assert "--dashboard-host=127.0.0.1" in commands
    assert "RAY_AUTH_MODE=token" in commands
    assert "~/.ray/auth_token" in config["file_mounts"]


@pytest.mark.parametrize("file", KUBERNETES, ids=name_of)
def test_kubernetes_accepts_the_manifests(file: Path) -> None:
    found = list(objects(file))
    assert found, "a file without objects says nothing to Kubernetes"
    for each in found:
        if each["apiVersion"] != "ray.io/v1":
            kubernetes_validate.validate(each, "1.31", strict=True)
            continue
        spec = each["spec"].get("rayClusterSpec", each["spec"])
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "x"},
                **group["template"],
            }
            kubernetes_validate.validate(pod, "1.31", strict=True)


@pytest.mark.skipif(SCHEMAS is None, reason="the folder with KubeRay's schemas is not here")
@pytest.mark.parametrize("name", ["rayjob", "raycluster"])
def test_kuberay_accepts_its_objects_and_knows_every_field(name: str) -> None:
    assert SCHEMAS is not None
    schema = json.loads((SCHEMAS / f"ray.io_v1_{name}.json").read_text())
    (found,) = [
        each for each in objects(ROOT / f"cluster/kubernetes/{name}.yaml")
        if each["apiVersion"] == "ray.io/v1"
    ]  # fmt: skip
    jsonschema.Draft7Validator(schema).validate(found)
    assert list(unknown(found, schema, "")) == []
    assert list(unknown({"spec": {"nonsense": 1}}, schema, "")) == [".spec.nonsense"]


def unknown(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    """Fields that the schema does not list: an API server would drop them without a word."""
    if isinstance(value, list):
        for each in value:
            yield from unknown(each, schema.get("items", {}), path)
    elif isinstance(value, dict) and "properties" in schema:
        for key, below in value.items():
            if key in schema["properties"]:
                yield from unknown(below, schema["properties"][key], f"{path}.{key}")
            elif path != ".metadata" and not path.endswith("template.metadata"):
                yield f"{path}.{key}"


def test_a_cluster_that_stays_is_the_cluster_of_the_job() -> None:
    (job,) = [e for e in objects(ROOT / "cluster/kubernetes/rayjob.yaml") if e["kind"] == "RayJob"]
    (stays,) = objects(ROOT / "cluster/kubernetes/raycluster.yaml")
    ours = job["spec"]["rayClusterSpec"]
    head = ours["headGroupSpec"]["template"]["spec"]
    head["volumes"] = [each for each in head["volumes"] if each["name"] != "space"]
    mounts = head["containers"][0]["volumeMounts"]
    head["containers"][0]["volumeMounts"] = [each for each in mounts if each["name"] != "space"]
    assert stays["spec"] == ours
    assert ours["authOptions"] == {"mode": "token"}
    assert ours["autoscalerOptions"]["version"] == "v2"


def test_the_search_in_the_job_is_a_search_space() -> None:
    (config,) = [
        e for e in objects(ROOT / "cluster/kubernetes/rayjob.yaml") if e["kind"] == "ConfigMap"
    ]
    found = space_file.from_dict(yaml.safe_load(config["data"]["space.yaml"]))
    assert found.domains, "a search has something to search"


def test_versions_in_all_files_are_those_of_the_constraints() -> None:
    ray, python = pins()["ray"], "3.11"
    text = "\n".join(
        file.read_text()
        for folder in ("cluster", "docker")
        for file in sorted((ROOT / folder).rglob("*"))
        if file.is_file() and file.suffix != ".pyc"
    )
    assert set(re.findall(r"rayVersion: \"([^\"]+)\"", text)) == {ray}
    assert set(re.findall(r"\bray==([\d.]+)", text)) == {ray}
    images = set(re.findall(r"mer-search:(\S+?)-ray(\S+?)-(cpu|cuda)\b", text))
    assert {(version, of_ray) for version, of_ray, _ in images} == {(__version__, ray)}
    assert set(re.findall(r"python:?(\d\.\d+)", text)) == {python}


@pytest.mark.parametrize("file", SCRIPTS, ids=name_of)
def test_shellcheck_has_nothing_to_say(file: Path) -> None:
    done = subprocess.run([BIN / "shellcheck", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
