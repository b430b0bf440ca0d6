"""`mlflow models serve` on an exported model: a video goes in over HTTP, a label comes out."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
from small_search import Searched

import mer_search
from mer_search.export import load

Exported = Callable[[Searched, int], Path]
pytestmark = pytest.mark.slow


@pytest.fixture
def served(faces: Searched, exported: Exported, tmp_path: Path) -> Iterator[str]:
    """The address of a server, in a process and a folder of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri",
               str(exported(faces, 0) / "mlflow"), "--port", str(port), "--host", "127.0.0.1",
               "--env-manager", "local"]  # fmt: skip
    source = str(Path(mer_search.__file__).parents[1])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen(
        command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True,
        env={**os.environ, "PYTHONPATH": source, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    try:
        address, until = f"http://127.0.0.1:{port}", time.monotonic() + 240
        while time.monotonic() < until and server.poll() is None:
            try:
                if requests.get(f"{address}/ping", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.3)
        assert server.poll() is None, (tmp_path / "log").read_text()
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
        log.close()


def video_of(clip: Path, file: Path) -> bytes:
    """A clip's frames as a video file."""
    from mer_search.features.frames import read_video

    frames = read_video(clip)
    height, width = frames[0].shape[:2]
    video = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    for frame in frames:
        video.write(cv2.cvtColor(np.asarray(frame), cv2.COLOR_RGB2BGR))
    video.release()
    return file.read_bytes()


def test_videos_are_labelled_over_http_and_wrong_bytes_are_the_callers_fault(
    served: str, faces: Searched, exported: Exported, tmp_path: Path
) -> None:
    files = [tmp_path / "one.avi", tmp_path / "two.avi"]
    sent = [video_of(clip, file) for clip, file in zip(faces.clips, files, strict=False)]
    rows = [[base64.b64encode(content).decode()] for content in sent]

    def ask(rows: list[list[str]]) -> requests.Response:
        body = {"dataframe_split": {"columns": ["content"], "data": rows}}
        return requests.post(f"{served}/invocations", json=body, timeout=120)

    answer = ask(rows)
    assert answer.status_code == 200, answer.text
    model = load(exported(faces, 0))
    for found, file in zip(answer.json()["predictions"], files, strict=True):
        wanted = model.predict(file).as_json()
        assert found["label"] == wanted["label"]
        assert found["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-4)
        assert found["keyframes"] == wanted["keyframes"]
    wrong = ask([rows[0], [base64.b64encode(b"no video at all").decode()]])
    assert 400 <= wrong.status_code < 500
    assert "row 1, 15 bytes: no frame could be decoded" in wrong.text
