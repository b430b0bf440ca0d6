"""The picture: every key frame once, one colour scale, and files that can be opened."""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest

from mer_search.errors import InputError
from mer_search.export.model import Prediction
from mer_search.export.picture import ACROSS, spread, write


def prediction(count: int, *, temporal: bool = True, spatial: bool = True) -> Prediction:
    rng = np.random.default_rng(0)
    return Prediction(
        probabilities={"happiness": 0.7, "others": 0.3},
        keyframes=list(range(0, 3 * count, 3)),
        temporal_attention=rng.dirichlet(np.ones(count)).tolist() if temporal else [],
        spatial_attention=rng.dirichlet(np.ones(9), count).astype(np.float32) if spatial else None,
        faces=rng.integers(0, 255, (count, 32, 32, 3)).astype(np.uint8),
        notes=(),
    )


@pytest.mark.parametrize("temporal", [True, False])
@pytest.mark.parametrize("spatial", [True, False])
def test_whatever_attention_there_is_becomes_a_picture(
    tmp_path: Path, temporal: bool, spatial: bool
) -> None:
    file = tmp_path / "clip.png"
    write(prediction(4, temporal=temporal, spatial=spatial), file)
    image = cv2.imread(str(file))
    assert image.shape[1] > image.shape[0] > 200
    assert image.std() > 10


@pytest.mark.slow
def test_many_key_frames_go_on_in_further_rows(tmp_path: Path) -> None:
    sizes = []
    for count in (ACROSS, ACROSS + 1, 3 * ACROSS):
        write(prediction(count), tmp_path / "clip.png")
        sizes.append(cv2.imread(str(tmp_path / "clip.png")).shape)
    assert sizes[0][1] == sizes[1][1] == sizes[2][1]
    assert sizes[0][0] < sizes[1][0] < sizes[2][0] < 2000


def test_all_words_are_in_the_picture(tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        write(prediction(2), tmp_path / "clip.svg")
    text = (tmp_path / "clip.svg").read_text()
    for words in ("happiness 0.70, others 0.30", "frame 0", "frame 3", "over 3x3 regions",
                  "bars: attention over time", "not why it decided"):  # fmt: skip
        assert words in text


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clip\.xyz: cannot be written .*; name a \.png, \.svg"):
        write(prediction(2), tmp_path / "clip.xyz")
    with pytest.raises(InputError, match=r"nowhere/clip\.png: cannot be written"):
        write(prediction(2), tmp_path / "nowhere" / "clip.png")


def test_a_map_stays_where_its_weights_are() -> None:
    weights = np.zeros(9, np.float32)
    weights[5] = 1.0  # second row, right
    smooth = spread(weights, 90)
    row, column = np.unravel_index(smooth.argmax(), smooth.shape)
    assert 30 <= row < 60 <= column
    assert smooth.min() == 0.0
