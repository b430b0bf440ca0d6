"""A network cut before its last block and put together again is the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mer_search.config import Backbone, Features, Trial
from mer_search.datasets.clips import DataSet
from mer_search.errors import InputError
from mer_search.features import plan
from mer_search.features.backbones import INPUTS, build
from mer_search.features.cache import Cache
from mer_search.features.extract import embed_frames, feature_set, fill
from mer_search.features.frames import read_frames
from mer_search.features.last_block import build_block, first_state, keep_blocks
from mer_search.models.attention_lstm import AttentionLSTM
from mer_search.models.fine_tuned import FineTuned


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer"),
    [("facenet-casia", "embedding"), ("vgg-face", "pool5"), ("senet50-vggface2", "layer4")],
)
def test_frozen_part_and_block_make_the_network(name: str, layer: str) -> None:
    backbone = Backbone(name=name, layer=layer, weights="random", trainable="last-block")  # type: ignore[arg-type]
    size = INPUTS[name].size
    face = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    whole = build(name, layer, pretrained=False).embed(face)
    entering = build(name, str(backbone.frozen.layer), pretrained=False).embed(face)
    block = build_block(backbone, first_state(backbone))
    head = AttentionLSTM(channels=1, classes=2)
    model = FineTuned(block, head, regions="keep", reference=False)
    with torch.inference_mode():
        found = model.rows(torch.from_numpy(entering)[:, None])[:, 0]
    np.testing.assert_allclose(found.numpy(), whole, rtol=1e-3, atol=1e-3 * np.abs(whole).max())
    assert not any(m.training for m in model.train().block.modules()), "BatchNorm stays frozen"


def settings(trainable: str = "last-block", layer: str = "block8", **others: Any) -> Features:
    return Features.model_validate({
        "align": {"method": "none"}, "keyframes": {"count": 2}, "reference": "onset",
        "backbone": {"name": "facenet-casia", "layer": layer, "weights": "random",
                     "trainable": trainable}, **others,
    })  # fmt: skip


@pytest.mark.slow
def test_what_is_cached_is_what_enters_the_block(dataset: DataSet, cache: Cache) -> None:
    features = settings()
    assert fill(dataset, [features], cache=cache).faults == ()
    found = feature_set(dataset, features, cache=cache, regions="mean")
    assert found.x.shape == (3, 3, 9, 1792), "two key frames and the onset, no region averaged"
    np.testing.assert_array_equal(found.x[:, 0], found.x[:, 2])  # uniform begins with the onset
    raw = embed_frames(read_frames(dataset.clips[1].frames), features, regions="mean")
    np.testing.assert_allclose(raw.x[0], found.x[1], atol=1e-4)
    np.testing.assert_array_equal(raw.mix, [[1, 0], [0, 1], [1, 0]])
    assert found.block is not None
    assert found.block.keys() == first_state(features.backbone).keys()
    other = settings(layer="embedding")
    assert fill(dataset, [other], cache=cache).frames_embedded == 0, "one boundary, one entry"
    assert feature_set(dataset, settings("last-block"), cache=cache).digest != found.digest


@pytest.mark.slow
def test_a_block_that_is_not_in_the_cache(dataset: DataSet, cache: Cache) -> None:
    features = settings()
    fill(dataset, [features], cache=cache)
    kept = plan.keys(dataset, [features])
    assert cache.clean(kept)[0] == 0
    key = plan.block_key(features.backbone, "random")
    cache.path(key).unlink()
    with pytest.raises(InputError, match="the last block of facenet-casia is not in the cache"):
        feature_set(dataset, features, cache=cache)
    keep_blocks([features], cache=cache)
    assert feature_set(dataset, features, cache=cache).block is not None


def test_frozen_features_keep_their_keys(dataset: DataSet) -> None:
    backbone = settings("none").backbone
    assert "trainable" not in backbone.model_dump()
    assert backbone.frozen == backbone


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (settings(layer="repeat_1"), "facenet-casia repeat_1 has no last block to train; choose"),
        (settings(keyframes={"method": "tim"}), "key frames of 'tim' are mixed from features"),
        (settings(input={"kind": "appearance+flow"}), "one block serves one stream"),
        (Features.model_validate({"backbone": {"name": "patches", "trainable": "last-block"}}),
         "patches grid has no last block to train; set trainable to none"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(features: Features, told: str) -> None:
    assert any(told in fault for fault in Trial(features=features).contradictions())


def test_a_model_without_gradients_is_refused() -> None:
    trial = Trial.model_validate({"features": settings(), "model": {"name": "majority"}})
    (fault,) = trial.contradictions()
    assert "no gradient comes through model.name 'majority'" in fault
