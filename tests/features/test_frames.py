from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mer_search.errors import InputError
from mer_search.features.frames import read_frames, read_image, read_video

RED = np.zeros((8, 10, 3), np.uint8)
RED[..., 2] = 200  # OpenCV writes blue first


def picture(path: Path, image: np.ndarray = RED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    return path


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    image = read_image(picture(tmp_path / "a.png"))
    assert image.shape == (8, 10, 3)
    assert image[0, 0].tolist() == [200, 0, 0]


def test_maps_keep_their_values(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.full((4, 5), -1.5))
    found = read_image(tmp_path / "m.npy")
    assert found.shape == (4, 5, 1)
    assert found.dtype == np.float32
    assert found.max() == -1.5


def test_unreadable_frames(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "words.npy", np.array(["a"]))
    np.save(tmp_path / "nan.npy", np.full((2, 2, 1), np.nan))
    told = {
        "missing.png": "does not; copy the clip again",
        "empty.png": "this file is empty; copy it again",
        "text.png": "this one cannot be read",
        "text.npy": "cannot be read as an array",
        "words.npy": r"must be numbers \[H, W, C\], found <U1 \(1,\)",
        "nan.npy": "holds NaN or infinity",
    }
    for name, message in told.items():
        with pytest.raises(InputError, match=rf"{name}: .*{message}"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_an_image_that_was_cut_short_is_not_half_a_frame(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)
    path = picture(tmp_path / f"cut{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(InputError, match=r"cut\..*: .*this one cannot be read; copy it again"):
        read_image(path)


def test_frames_of_different_sizes(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png", RED[:6])]
    with pytest.raises(InputError, match=r"b\.png: .*one size, this is 10x6 but a\.png is 10x8"):
        read_frames(paths)


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        picture(tmp_path / "v" / f"s1_img{number}.png", np.full((4, 4, 3), number, np.uint8))
    (tmp_path / "v" / "Thumbs.db").touch()
    assert [int(frame[0, 0, 0]) for frame in read_video(tmp_path / "v")] == [1, 2, 10]


def test_a_video_file(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for shade in (0, 100, 200):
        writer.write(np.full((48, 64, 3), shade, np.uint8))
    writer.release()
    frames = read_video(path)
    assert len(frames) == 3
    assert frames[0].shape == (48, 64, 3)
    assert [round(float(frame.mean()) / 100) for frame in frames] == [0, 1, 2]


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(200))
    (tmp_path / "folder").mkdir()
    told = {
        "missing.mp4": "nothing is there; check the path",
        "empty.mp4": "this file is empty",
        "broken.mp4": "no video, or a broken one; give a video file",
        "folder": r"must hold images \(.*\), this one has none",
    }
    for name, message in told.items():
        with pytest.raises(InputError, match=rf"{name}: .*{message}"):
            read_video(tmp_path / name)
