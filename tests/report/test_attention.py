"""Attention by class, its receptive field, and whether the favoured region matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mer_search.loso.ledger import FoldBlock, Ledger
from mer_search.loso.result import read_results
from mer_search.report.account import read
from mer_search.report.attention import attention_of, receptive_field, verdict

Make = Callable[..., Ledger]


def with_maps(ledger: Ledger, number: int, loss: float = 0.5) -> None:
    """Gives a trial attention: class c looks at keyframe c and region c."""
    result = read_results(ledger)[number]
    label = dict(zip(result.protocol.keys, result.protocol.label.tolist(), strict=True))
    for index, block in result.blocks.items():
        classes = np.array([label[key] for key in block.keys])
        temporal = np.full((len(classes), 4), 0.1)
        temporal[np.arange(len(classes)), classes] = 0.7
        spatial = np.full((len(classes), 4, 9), 0.05)
        spatial[np.arange(len(classes)), :, classes] = 0.6
        maps = {"temporal": temporal, "spatial": spatial, "occluded_top": block.probs * (1 - loss),
                "occluded_random": block.probs * 0.99}  # fmt: skip
        halves = {name: values.astype(np.float16) for name, values in maps.items()}
        ledger.write_block(number, index, replace(block, maps=halves))


def test_weights_are_means_over_held_out_clips_of_a_class(invented_search: Make) -> None:
    ledger = invented_search()
    with_maps(ledger, 3)
    found = attention_of(read_results(ledger)[3])
    assert found is not None
    assert found.side == 3
    assert found.temporal is not None
    assert found.spatial is not None
    np.testing.assert_allclose(np.diag(found.temporal), 0.7, atol=1e-3)
    assert found.spatial.argmax(1).tolist() == [0, 1, 2]
    assert sum(found.clips) == 30


def test_occlusion_says_whether_the_favoured_region_matters(invented_search: Make) -> None:
    ledger = invented_search()
    with_maps(ledger, 3)
    found = attention_of(read_results(ledger)[3])
    assert found is not None
    assert found.occlusion is not None
    assert found.occlusion.top.value > 10 * found.occlusion.random.value
    assert "the region of most weight matters more than another" in verdict(found.occlusion)
    with_maps(ledger, 3, loss=0.01)
    found = attention_of(read_results(ledger)[3])
    assert found is not None
    assert found.occlusion is not None
    assert "no evidence that the region of most weight matters more" in verdict(found.occlusion)


def test_a_trial_without_attention_has_none(invented_search: Make) -> None:
    assert attention_of(read_results(invented_search())[0]) is None


@pytest.mark.parametrize(
    ("backbone", "told"),
    [
        ({"name": "vgg-face", "layer": "pool5"}, "up to 212 of the image's 224 pixels"),
        ({"name": "facenet-casia", "layer": "repeat_1"}, "may depend on the whole face"),
        (
            {"name": "resnet50-vggface2", "layer": "layer3"},
            "is 291 pixels or more wide, the image 224",
        ),
        ({"name": "patches"}, "a region sees nothing outside itself"),
        ({"name": "facenet-casia", "layer": "embedding"}, "embedding sees of the face is not"),
    ],
)
def test_the_receptive_field_is_stated(
    invented_search: Make, backbone: dict[str, str], told: str
) -> None:
    align = {"method": "none" if backbone["name"] == "patches" else "mtcnn"}
    features = {"backbone": backbone, "align": align}
    assert told in receptive_field(read(invented_search(features=features)))


def test_the_json_has_the_weights_by_class(invented_search: Make, tmp_path: Path) -> None:
    from mer_search.report.compare import compare

    ledger = invented_search()
    with_maps(ledger, 3)
    seen = compare([ledger]).as_json()["best"]["attention"]
    assert set(seen["spatial"]) == {"happiness", "surprise", "others"}
    assert seen["occlusion"]["top"]["value"] > 0
    assert isinstance(read_results(ledger)[3].blocks[0], FoldBlock)
