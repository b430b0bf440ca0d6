"""What a model refuses to label, and how it says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_search import Searched

from mer_search.errors import InputError
from mer_search.export import load
from mer_search.export.model import ExportedModel
from mer_search.features import frames

Exported = Callable[[Searched, int], Path]


@pytest.fixture
def of_maps(maps: Searched, exported: Exported) -> ExportedModel:
    return load(exported(maps, 1))


def test_a_prediction_is_the_contract_of_predict_json(
    maps: Searched, of_maps: ExportedModel
) -> None:
    found = of_maps.predict(maps.clips[0]).as_json()
    assert list(found) == [
        "label", "probabilities", "keyframes", "temporal_attention", "notes",
    ]  # fmt: skip
    assert found["label"] == max(found["probabilities"], key=found["probabilities"].get)
    assert sum(found["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert found["keyframes"] == [0, 1, 2]
    assert len(found["temporal_attention"]) == 3
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert len(repr(of_maps.predict(maps.clips[0]))) < 500


def test_videos_that_cannot_be_read_are_named(of_maps: ExportedModel, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.touch()
    text.write_text("no video")
    with pytest.raises(InputError, match=r"nowhere\.mp4: a video has to exist, nothing is there"):
        of_maps.predict(tmp_path / "nowhere.mp4")
    with pytest.raises(InputError, match=r"empty\.mp4: .* this file is empty; copy it again"):
        of_maps.predict(empty)
    with pytest.raises(InputError, match=r"text\.mp4: no frame could be decoded: it is no video"):
        of_maps.predict(text)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"folder: a folder must hold images .*, this one has non"):
        of_maps.predict(tmp_path / "folder")


def test_maps_of_another_size_or_number_are_refused(
    maps: Searched, of_maps: ExportedModel, tmp_path: Path
) -> None:
    for t in range(3):
        np.save(tmp_path / f"{t}.npy", np.zeros((9, 9, 2), np.float32))
    wrong = r"holds maps of float32 9x9x2, the model takes maps of 128 numbers that a 2x2 grid"
    with pytest.raises(InputError, match=wrong):
        of_maps.predict(tmp_path)
    shutil.copytree(maps.clips[0], tmp_path / "two")
    (tmp_path / "two" / "2.npy").unlink()
    with pytest.raises(InputError, match=r"two: gives 2 key frames .* model takes \[3, 4, 32\]"):
        of_maps.predict(tmp_path / "two")


def test_pictures_are_no_maps(of_maps: ExportedModel, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(InputError, match="holds maps of uint8 30x40x3, the model takes maps"):
        of_maps.predict(tmp_path)


def test_a_clip_of_quite_another_length_gets_a_note(maps: Searched, of_maps: ExportedModel) -> None:
    pictures = frames.read_video(maps.clips[0])
    assert of_maps.predict_frames(pictures).notes == ()
    of_maps.settings["data"]["frames"] = [10, 20]
    assert of_maps.predict_frames(pictures).notes == (
        "3 frames where clips of 10 to 20 were trained on; cut the clip likewise, to one "
        "expression",
    )


@pytest.mark.slow
def test_a_model_of_faces_refuses_maps_and_empty_scenes(
    faces: Searched, maps: Searched, exported: Exported, tmp_path: Path
) -> None:
    model = load(exported(faces, 0))
    with pytest.raises(InputError, match=r"s0c0: holds arrays \(float32 8x8x2\), the model"):
        model.predict(maps.clips[0])
    for t in range(3):
        cv2.imwrite(str(tmp_path / f"{t}.png"), np.full((120, 160, 3), 90, np.uint8))
    with pytest.raises(InputError, match=r"no face was found on frame 0 of 3, .*; begin where"):
        model.predict(tmp_path)


@pytest.mark.slow
def test_a_video_file_is_labelled_as_its_frames(
    faces: Searched, exported: Exported, tmp_path: Path
) -> None:
    pictures = frames.read_video(faces.clips[0])
    file = tmp_path / "clip.mp4"
    height, width = pictures[0].shape[:2]
    video = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 25, (width, height))
    for picture in pictures:
        video.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    video.release()
    model = load(exported(faces, 0))
    found, same = model.predict(file), model.predict_frames(frames.read_video(file))
    assert found.as_json() == same.as_json()
    assert found.keyframes == model.predict(faces.clips[0]).keyframes
    assert model.backbone is model.backbone, "built once"
