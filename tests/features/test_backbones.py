from __future__ import annotations

import numpy as np
import pytest
import torch

from mer_search.errors import InputError, WeightsMissing
from mer_search.features.backbones import build
from mer_search.features.filling import multiplies_bf16
from mer_search.features.networks import cut, fold_norms, network, randomise

FACES = np.random.default_rng(0).integers(0, 256, (3, 160, 160, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("repeat_1", (289, 256)),
        ("repeat_2", (64, 896)),
        ("block8", (9, 1792)),
        ("embedding", (1, 512)),
    ],
)
@pytest.mark.parametrize("name", ["facenet-casia", "facenet-vggface2"])
@pytest.mark.slow
def test_facenet_layers(name: str, layer: str, shape: tuple[int, int]) -> None:
    found = build(name, layer, pretrained=False).embed(FACES[:1])
    assert found.shape == (1, *shape)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.std() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "shape"),
    [("conv5_3", (196, 512)), ("pool5", (49, 512)), ("fc6", (1, 4096)), ("fc7", (1, 4096))],
)
def test_vgg_layers(layer: str, shape: tuple[int, int]) -> None:
    found = build("vgg-face", layer, pretrained=False).embed(FACES[:1])
    assert found.shape == (1, *shape)
    assert found.min() >= 0
    assert 1e-3 < found.std() < 1e4


def test_vgg_face_has_the_published_size() -> None:
    parameters = sum(p.numel() for p in network("vgg-face").parameters())
    assert parameters + 4096 * 2622 + 2622 == 145_002_878


SLOW_BF16 = pytest.mark.skipif(
    not multiplies_bf16("cpu"), reason="this processor has no bf16 instructions: most of a minute"
)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=SLOW_BF16)])
@pytest.mark.slow
def test_an_embedding_does_not_depend_on_its_batch(precision: str) -> None:
    backbone = build("facenet-casia", "embedding", pretrained=False, precision=precision)
    together = backbone.embed(FACES)
    alone = np.concatenate([backbone.embed(face[None]) for face in FACES])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.slow
def test_more_images_than_a_batch() -> None:
    backbone = build("facenet-casia", "repeat_1", pretrained=False)
    backbone.batch = 2  # type: ignore[attr-defined]
    assert backbone.embed(FACES).shape == (3, 289, 256)


@pytest.mark.slow
def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(3)
    first = build("facenet-casia", "repeat_1", pretrained=False).embed(FACES[:1])
    torch.manual_seed(4)
    state = torch.random.get_rng_state()
    second = build("facenet-casia", "repeat_1", pretrained=False).embed(FACES[:1])
    np.testing.assert_array_equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.slow
def test_folded_norms_change_nothing() -> None:
    net = network("facenet-casia").eval()
    randomise(net)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.weight, 0.9, 1.1)
    x = torch.rand(1, 3, 160, 160)
    with torch.inference_mode():
        before = cut(net, "embedding")(x)
        fold_norms(net)
        after = cut(net, "embedding")(x)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_other_sizes_are_resized() -> None:
    backbone = build("facenet-casia", "repeat_1", pretrained=False)
    assert backbone.embed(FACES[:1, :100, :100]).shape == (1, 289, 256)


def test_patches_are_raw_values() -> None:
    maps = np.arange(2 * 4 * 6 * 2, dtype=np.float32).reshape(2, 4, 6, 2)
    found = build("patches", "grid", grid=2).embed(maps)
    assert found.shape == (2, 4, 2 * 3 * 2)
    np.testing.assert_array_equal(found[1, 1], maps[1, :2, 3:].ravel())
    np.testing.assert_array_equal(found[1, 2], maps[1, 2:, :3].ravel())


def test_refusals() -> None:
    with pytest.raises(InputError, match="must divide the maps' height and width, found 3 for 4x6"):
        build("patches", "grid", grid=3).embed(np.zeros((1, 4, 6, 1), np.float32))
    with pytest.raises(InputError, match="has no layer 'block9'; did you mean 'block8'"):
        build("facenet-casia", "block9")
    with pytest.raises(InputError, match="did you mean 'facenet-casia'"):
        build("facenet-caisa", "block8")
    with pytest.raises(InputError, match="'resnet' is no face network; choose from facenet-casia"):
        network("resnet")
    with pytest.raises(InputError, match="takes 8-bit colour images, found float32"):
        build("facenet-casia", "block8", pretrained=False).embed(FACES.astype(np.float32))
    with pytest.raises(WeightsMissing, match=r"bring vgg_face_dag\.pth"):
        build("vgg-face", "pool5")
