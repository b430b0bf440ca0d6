"""Extraction over a cluster: every node does its share, a lost one is done again."""

from __future__ import annotations

import csv
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import ray
import yaml
from ray_head import Head, can_hide, head, node, vanish
from safetensors.numpy import save
from test_cluster import wait_for_cpus

from mer_search import space_file
from mer_search.datasets import Clip, read
from mer_search.features import plan, weights
from mer_search.features.cache import Cache
from mer_search.features.extract import FillReport, fill, waiting
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results
from mer_search.search import spreading
from mer_search.search.nodes import Node
from mer_search.search.spreading import Extractor, _asks, _same


@pytest.fixture
def face_space(tmp_path: Path) -> Path:
    """A search whose 48 clips a network with drawn weights has to see."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "faces"
    folder.mkdir()
    with (folder / "faces.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["dataset", "subject", "clip", "label", "path", "frame"])
        for number in range(48 * 6):
            clip, frame = divmod(number, 6)
            picture = cv2.resize(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8), (96, 96))
            cv2.imwrite(str(folder / f"{number}.png"), picture)
            label = ("calm", "moved")[clip % 2]
            rows.writerow(["toy", f"s{clip // 8}", f"c{clip}", label, f"{number}.png", frame])
    space = {
        "name": "faces",
        "data": {"reader": "manifest", "root": str(folder / "faces.csv")},
        "features": {
            "align": {"method": "none", "size": 96},
            "keyframes": {"method": "uniform", "count": 6},
            "backbone": {"name": "facenet-casia", "layer": "repeat_1", "weights": "random"},
        },
        "model": {"attention": "none", "lstm_size": 8},
        "train": {"epochs": 2, "batch_size": 16, "learning_rate": {"float": [0.001, 0.01]}},
        "search": {"trials": 1},
    }
    file = tmp_path / "faces.yaml"
    file.write_text(yaml.safe_dump(space))
    return file


def entries(folder: Path) -> set[str]:
    return {path.stem for path in folder.rglob("*.safetensors")}


@contextmanager
def apart(running: Head, home: Path, cache: Path) -> Iterator[Popen[bytes]]:
    """A node of one core that does not see the driver's cache, once it has joined."""
    environment = {"MER_SEARCH_CACHE": str(home)}
    with node(running, hidden=(cache,), environment=environment) as found:
        wait_for_cpus(running, 2)
        yield found


@pytest.mark.ray
@pytest.mark.timeout(400)
@pytest.mark.skipif(not can_hide(), reason="this user may not unshare the mount namespace")
def test_all_nodes_extract_and_the_share_of_a_lost_one_is_done_again(
    face_space: Path, tmp_path: Path
) -> None:
    cache, home = tmp_path / "driver", tmp_path / "home"
    cache.mkdir()
    known = {"MER_SEARCH_CACHE": str(cache)}
    with head(cpus=1, environment=known) as running, apart(running, home, cache) as far:
        driver = Popen(
            [sys.executable, "-m", "mer_search", "launch", str(face_space), "--address",
             running.gcs, "--store", str(tmp_path / "store"), "--tracking", "none"],
            env=running.environment, stdout=PIPE, stderr=STDOUT, text=True, cwd=tmp_path,
        )  # fmt: skip
        until = time.monotonic() + 150
        while not (entries(home) and entries(cache)):  # one is far, one has the driver's cache
            assert driver.poll() is None, driver.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        vanish(far)
        told, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, told
    assert "takes no part" not in told
    assert [each.complete for each in read_results(Ledger(str(tmp_path / "store"), "faces"))]
    space = space_file.read(face_space)
    dataset, settings = read("manifest", space.data.root), space.feature_settings()
    made, reference = Cache(cache / "features"), Cache(tmp_path / "reference")
    assert waiting(dataset, settings, cache=made) == ()
    assert len(entries(home)) < 48
    fill(dataset, settings, cache=reference)
    for key in plan.keys(dataset, settings) & entries(reference.root):
        ours, theirs = made.arrays(key), reference.arrays(key)
        assert ours is not None
        assert theirs is not None
        np.testing.assert_allclose(ours["rows"], theirs["rows"], atol=1e-4)


class Actor:
    """Stands for an extractor: a reference is the call itself, made when its value is asked for."""

    def __init__(self, cache: Cache, *answers: Any) -> None:
        self.extractor = object.__new__(Extractor)
        self.extractor.cache, self.answers, self.given = cache, list(answers), 0
        self.ready = SimpleNamespace(remote=lambda *known: self.answered)
        self.embed = SimpleNamespace(remote=self.asked)
        self.digests = SimpleNamespace(remote=lambda keys: lambda: self.extractor.digests(keys))
        self.entry = SimpleNamespace(remote=lambda key: lambda: self.extractor.entry(key))

    def asked(self, clips: Any) -> Any:
        self.given += len(clips)
        return partial(self.answered, clips)

    def answered(self, clips: tuple[Clip, ...] = ()) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(clips) if callable(answer) else answer


@pytest.fixture
def crew(
    face_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[FillReport, list[str], list[int]]]:
    """Extracts with these stand-ins: the report, what was said, and frames left to the driver."""
    space = space_file.read(face_space)
    found = read("manifest", space.data.root)
    dataset, settings = replace(found, clips=found.clips[:20]), space.feature_settings()

    def run(*actors: Actor) -> tuple[FillReport, list[str], list[int]]:
        there = [Node(str(at), f"node-{at}", {"CPU": 1.0}) for at in range(len(actors))]
        by_driver: list[int] = []

        def fill_rest(*given: Any, **options: Any) -> FillReport:
            by_driver.append((report := fill(*given, **options)).frames_embedded)
            return report

        monkeypatch.setattr(spreading, "nodes", lambda: there)
        monkeypatch.setattr(spreading, "_start", lambda node, *rest: actors[int(node.id)])
        monkeypatch.setattr(spreading, "fill", fill_rest)
        monkeypatch.setattr(ray, "wait", lambda waiting, timeout: (waiting, []))
        monkeypatch.setattr(ray, "get", lambda reference: reference())
        monkeypatch.setattr(ray, "kill", lambda actor: None)
        said: list[str] = []
        told: list[tuple[int, int, float]] = []
        report = spreading.fill_over_cluster(
            dataset, settings, cache=Cache(tmp_path / "cache"), says=said.append,
            progress=lambda *seen: told.append(seen),
        )  # fmt: skip
        assert all(done <= total for done, total, _ in told)
        assert waiting(dataset, settings, cache=Cache(tmp_path / "cache")) == ()
        assert report.frames_embedded >= 120
        return report, said, by_driver

    def does(cache: Cache) -> Callable[[tuple[Clip, ...]], tuple[int, int, bool]]:
        def embed(clips: tuple[Clip, ...]) -> tuple[int, int, bool]:
            report = fill(replace(dataset, clips=clips), settings, cache=cache)
            return report.frames_embedded, 0, False

        return embed

    run.does, run.dataset, run.settings = does, dataset, settings  # type: ignore[attr-defined]
    return run


@pytest.mark.slow
def test_shares_of_nodes_that_die_or_see_nothing_are_done_by_others(
    crew: Any, tmp_path: Path
) -> None:
    well, blind, dying = (Cache(tmp_path / name) for name in ("well", "blind", "dying"))
    actors = (
        Actor(well, "", crew.does(well)),
        Actor(blind, "", lambda clips: (0, len(clips), False)),
        Actor(dying, "", ray.exceptions.ActorDiedError()),
    )
    _, said, by_driver = crew(*actors)
    assert actors[0].given == 20, "all shares came to the one that is well"
    assert by_driver == [0]
    assert len(said) == 1
    assert said[0].startswith("node-1 takes no part in extraction: it does not see the data as")
    assert entries(well.root) == entries(tmp_path / "cache")


@pytest.mark.slow
def test_what_no_node_does_is_done_by_the_driver(crew: Any, tmp_path: Path) -> None:
    fault = ray.exceptions.RayTaskError("embed", "Traceback\nValueError: odd", ValueError("odd"))
    _, said, by_driver = crew(
        Actor(Cache(tmp_path / "a"), "its weights are others"),
        Actor(Cache(tmp_path / "b"), "", fault),
    )
    assert by_driver == [120]
    assert said[0] == "node-0 takes no part in extraction: its weights are others"
    assert re.match(r"node-1 could not extract \(.*ValueError: odd\); the driver does it", said[1])


@pytest.mark.slow
def test_entries_that_arrive_damaged_are_computed_again(crew: Any, tmp_path: Path) -> None:
    well = Cache(tmp_path / "well")
    actor = Actor(well, "", crew.does(well))
    broken = sorted(plan.keys(crew.dataset, crew.settings))[::5]

    def entry(key: str) -> bytes:
        return actor.extractor.entry(key)[: -1 if key in broken else None]

    actor.entry = SimpleNamespace(remote=lambda key: partial(entry, key))
    report, said, by_driver = crew(actor)
    assert said == []
    assert len([note for note in report.notes if "was damaged and is computed again" in note]) > 0
    assert by_driver == [6 * len(set(broken) & entries(well.root))]
    assert by_driver > [0]


def test_a_clip_of_other_content_or_absent_is_not_the_drivers(face_space: Path) -> None:
    clip = read("manifest", space_file.read(face_space).data.root).clips[0]
    assert clip.digest
    assert _same(clip)
    clip.frames[1].write_bytes(b"other")
    assert not _same(clip)
    clip.frames[1].unlink()
    assert not _same(clip)


def test_a_node_without_the_drivers_weights_fetches_them_once_and_keeps_others(
    face_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def extractor(*changes: str) -> Extractor:
        space = space_file.read(face_space, changes)
        return Extractor(tmp_path / "driver", "identity", space.feature_settings(), 1)

    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "home"))
    assert extractor().ready({"facenet-casia": "random"}, {}) == ""
    sent: list[bytes] = []
    content = save({"w": np.zeros(1, np.float32)}, {"sha256": "5" * 64})
    monkeypatch.setattr(ray, "get", lambda file: sent.append(file) or file)
    files, known = {"facenet-casia": content}, {"facenet-casia": "5" * 64}
    pretrained = extractor("features.backbone.weights=pretrained")
    assert [pretrained.ready(known, files) for _ in range(2)] == ["", ""]
    assert len(sent) == 1
    assert weights.content("facenet-casia") == content
    weights.receive("facenet-casia", b"other")
    assert weights.content("facenet-casia") == content
    assert pretrained.ready({"facenet-casia": "6" * 64}, files) == (
        "its weights of facenet-casia are others than the driver's"
    )


def test_an_extractor_asks_for_a_gpu_each_or_for_all_processors() -> None:
    asks = [_asks(Node("a", "a", each)) for each in ({"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}, {})]
    assert asks == [[{"num_gpus": 1, "num_cpus": 4}] * 2, [{"num_gpus": 0, "num_cpus": 4}], []]
