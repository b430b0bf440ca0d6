"""The MLflow form: rows in, rows out, a version in a registry."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from small_search import Searched

from mer_search.errors import InputError
from mer_search.export import export_trial, load
from mer_search.tracking.mirror import Mirror
from mer_search.tracking.place import TrackingAway

Exported = Callable[[Searched, int], Path]
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing may be written into the working directory, no address may stay behind."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    assert list(folder.iterdir()) == []


def test_the_signature_says_what_goes_in_and_out(maps: Searched, exported: Exported) -> None:
    import mlflow.pyfunc

    signature = mlflow.pyfunc.load_model(str(exported(maps, 0) / "mlflow")).metadata.signature
    assert str(signature.inputs) == "['video': string (optional), 'content': binary (optional)]"
    assert [each.name for each in signature.outputs] == [
        "label", "probabilities", "keyframes", "temporal_attention", "notes",
    ]  # fmt: skip


def test_every_row_that_cannot_be_labelled_is_told(maps: Searched, exported: Exported) -> None:
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(str(exported(maps, 0) / "mlflow"))
    rows = pd.DataFrame({"video": [str(maps.clips[0]), "nowhere.mp4", None, b"no video"]})
    with pytest.raises(MlflowException, match="input: 3 faults") as told:
        model.predict(rows)
    assert "row 1, nowhere.mp4: a video has to exist" in str(told.value)
    assert "row 2, columns: 0 of video and content hold something" in str(told.value)
    assert "row 3, 8 bytes: no frame could be decoded" in str(told.value)
    with pytest.raises(MlflowException, match="needs rows with a column video"):
        model.predict(pd.DataFrame({"other": [1]}))


@pytest.mark.slow
@pytest.mark.parametrize("column", ["video", "content"])
def test_bytes_are_labelled_like_the_file(
    faces: Searched, exported: Exported, tmp_path: Path, column: str
) -> None:
    import cv2
    import mlflow.pyfunc

    from mer_search.features.frames import read_video

    pictures, file = read_video(faces.clips[1]), tmp_path / "clip.avi"
    size = (pictures[0].shape[1], pictures[0].shape[0])
    video = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 25, size)
    for picture in pictures:
        video.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    video.release()
    model = mlflow.pyfunc.load_model(str(exported(faces, 0) / "mlflow"))
    (row,) = model.predict(pd.DataFrame({column: [file.read_bytes()]})).to_dict("records")
    assert row == load(exported(faces, 0)).predict(file).as_json()


@pytest.mark.slow
def test_a_model_registered_on_a_server_is_loaded_by_its_alias(
    maps: Searched, served: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.pyfunc

    command = str(Path(sys.executable).with_name("mlflow"))
    uri = served(command, "server", "--host", "127.0.0.1", "--port", "PORT", "--workers", "1",
                 "--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}",
                 "--artifacts-destination", str(tmp_path / "artifacts"))  # fmt: skip
    before, client = mlflow.get_tracking_uri(), MlflowClient(uri)
    told = [
        export_trial(maps.ledger, 0, tmp_path / name, cache=maps.cache, portable=False,
                     register="mer@best", tracking=uri)
        for name in ("a", "b")
    ]  # fmt: skip
    assert [each["version"] for each in told] == ["1", "2"]
    assert told[0]["registered"] == "models:/mer@best"
    assert mlflow.get_tracking_uri() == before
    version = client.get_model_version_by_alias("mer", "best")
    assert str(version.version) == "2"
    assert version.tags == {"mer.kind": "export", "mer.search": "maps", "mer.trial": "0"}
    assert version.description.startswith("# maps, trial 0")
    run = client.get_run(version.run_id)
    scores = json.loads((tmp_path / "a" / "settings.json").read_text())["scores"]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["corrected.uf1"] == pytest.approx(scores["corrected"]["uf1"])
    assert run.data.params["model.attention"] == "none"

    Mirror(maps.ledger, uri).sync(running=False)  # deletes no run of an export
    for version in client.search_model_versions("name = 'mer'"):
        assert client.get_run(version.run_id).info.lifecycle_stage == "active"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    model = mlflow.pyfunc.load_model("models:/mer@best", dst_path=str(tmp_path))
    rows = model.predict(pd.DataFrame({"video": [str(clip) for clip in maps.clips]}))
    here = load(tmp_path / "a")
    for clip, found in zip(maps.clips, rows["probabilities"], strict=True):
        assert found == pytest.approx(here.predict(clip).probabilities)


@pytest.mark.parametrize(
    "name", ["mer", "@best", "mer@", "a/b@best", "a@b@c", "mer@be st", "it's@best"]
)
def test_names_that_mlflow_does_not_take_are_refused(
    maps: Searched, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match="must be MODEL@ALIAS, such as mer@best"):
        export_trial(maps.ledger, 0, tmp_path / "m", cache=maps.cache, register=name)
    assert not (tmp_path / "m").exists()


def test_mlflow_being_away_or_strange_is_told_before_training(
    maps: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def export(register: str, tracking: str) -> None:
        export_trial(maps.ledger, 0, tmp_path / "m", cache=maps.cache, register=register,
                     tracking=tracking)  # fmt: skip

    with pytest.raises(TrackingAway, match=r"does not answer .*; start it, or export without"):
        export("mer@best", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="MLflow keeps the alias 'v3' for itself; take another"):
        export("mer@v3", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="--tracking: 'none' is no address of MLflow"):
        export("mer@best", "none")
    assert not (tmp_path / "m").exists()
