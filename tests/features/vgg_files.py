"""VGG-Face's layouts written by hand: a narrow network's weights in each, and what each computes.

Narrow: 4 to 8 channels and 16 in fc6 and fc7, since the real network has 145 million parameters.
Its 13 convolutions, 5 pools, the 7x7 grid under fc6 and the input of 224 pixels are the real ones.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_search.features import networks

STAGES = ((1, 2, 3, 4), (2, 2, 4, 4), (3, 3, 4, 6), (4, 3, 6, 8), (5, 3, 8, 8))
FULL, PEOPLE = 16, 5
MEANS = torch.tensor([129.1863, 104.7624, 93.5940]).reshape(1, 3, 1, 1)  # R, G, B
CONVOLUTIONS = [f"conv{n}_{i}" for n, count, _, _ in STAGES for i in range(1, count + 1)]
State = dict[str, Tensor]


def narrow(monkeypatch: Any) -> tuple[nn.Module, State]:
    """The reference network and its state with an fc8."""
    monkeypatch.setattr(networks, "VGG_STAGES", STAGES)
    monkeypatch.setattr(networks, "VGG_FULL", FULL)
    net = networks.network("vgg-face")
    networks.randomise(net, seed=3)
    generator = torch.Generator().manual_seed(4)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    for key in state:  # biases count too
        if key.endswith("bias"):
            state[key] = torch.randn(state[key].shape, generator=generator)
    state["fc8.weight"] = torch.randn(PEOPLE, FULL, generator=generator)
    state["fc8.bias"] = torch.randn(PEOPLE, generator=generator)
    net.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc8")})
    return net, state


def reference(net: nn.Module, rgb: Tensor) -> Tensor:
    """fc7 of RGB images of 0-255."""
    with torch.no_grad():
        found: Tensor = net(rgb - MEANS)
    return found


def trunk(x: Tensor, weights: list[tuple[Tensor, Tensor]], *, ceil: bool = False) -> Tensor:
    """13 convolutions, five of which end a stage."""
    ends = {1, 3, 6, 9, 12}
    for index, (weight, bias) in enumerate(weights):
        x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
        if index in ends:
            x = functional.max_pool2d(x, 2, ceil_mode=ceil)
    return x


# PyTorch -----------------------------------------------------------------------------------------


def write_dag(path: Path, state: State) -> Callable[[Tensor], Tensor]:
    torch.save(state, path)

    def native(rgb: Tensor) -> Tensor:
        x = trunk(rgb - MEANS, [(state[f"{c}.weight"], state[f"{c}.bias"]) for c in CONVOLUTIONS])
        x = functional.relu(functional.linear(x.flatten(1), state["fc6.weight"], state["fc6.bias"]))
        return functional.relu(functional.linear(x, state["fc7.weight"], state["fc7.bias"]))

    return native


def write_blocks(path: Path, state: State) -> Callable[[Tensor], Tensor]:
    """vggface-9d491dd7c30312.pth: 0-1 in B, G, R, pools with ceil_mode."""
    own = {}
    for key, value in state.items():
        layer, part = key.split(".")
        if layer.startswith("fc"):
            own[f"fc{int(layer[2]) - 5}.{part}"] = value
        else:
            own[f"conv{layer[4]}.convs.{int(layer[6]) - 1}.{part}"] = value
    own["conv1.convs.0.weight"] = own["conv1.convs.0.weight"].flip(1) * 255
    torch.save(own, path)

    def native(rgb: Tensor) -> Tensor:
        x = rgb.flip(1) / 255 - MEANS.flip(1) / 255
        convs = [(own[f"conv{c[4]}.convs.{int(c[6]) - 1}.weight"],
                  own[f"conv{c[4]}.convs.{int(c[6]) - 1}.bias"]) for c in CONVOLUTIONS]  # fmt: skip
        x = trunk(x, convs, ceil=True).flatten(1)
        x = functional.relu(functional.linear(x, own["fc1.weight"], own["fc1.bias"]))
        return functional.relu(functional.linear(x, own["fc2.weight"], own["fc2.bias"]))

    return native


# Torch7 ------------------------------------------------------------------------------------------


class Torch7:
    """Writes values as torch.save of Lua does."""

    def __init__(self) -> None:
        self.content, self.index = b"", 0

    def number(self, form: str, *values: Any) -> None:
        self.content += struct.pack(form, *values)

    def text(self, word: str) -> None:
        self.number("<i", len(word))
        self.content += word.encode()

    def value(self, value: Any) -> None:
        if value is None:
            self.number("<i", 0)
        elif isinstance(value, bool):
            self.number("<ii", 5, value)
        elif isinstance(value, int | float):
            self.number("<id", 1, value)
        elif isinstance(value, str):
            self.number("<i", 2)
            self.text(value)
        elif isinstance(value, dict):
            self.new(3)
            self.number("<i", len(value))
            for key, each in value.items():
                self.value(key)
                self.value(each)
        elif isinstance(value, np.ndarray):
            self.tensor(value)
        else:
            kind, fields = value
            self.object(kind)
            self.value(fields)

    def new(self, kind: int) -> None:
        self.index += 1
        self.number("<ii", kind, self.index)

    def object(self, kind: str) -> None:
        self.new(4)
        self.text("V 1")
        self.text(kind)

    def tensor(self, array: np.ndarray) -> None:
        self.object("torch.FloatTensor")
        self.number("<i", array.ndim)
        strides = [step // 4 for step in np.ascontiguousarray(array).strides]
        self.number(f"<{array.ndim}q{array.ndim}qq", *array.shape, *strides, 1)
        self.object("torch.FloatStorage")
        self.number("<q", array.size)
        self.content += array.astype("<f4").tobytes()


def torch7_modules(state: State) -> dict[int, Any]:
    """nn.Sequential's modules: convolutions with their ReLUs and pools, then linear layers."""
    modules: list[Any] = []
    for name in CONVOLUTIONS:
        weight = state[f"{name}.weight"]
        weight = weight.flip(1) if name == "conv1_1" else weight
        fields = {"weight": weight.flatten(1).numpy(), "bias": state[f"{name}.bias"].numpy(),
                  "nInputPlane": weight.shape[1], "train": False}  # fmt: skip
        modules += [("nn.SpatialConvolutionMM", fields), ("nn.ReLU", {"inplace": True})]
        if name in ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"):
            modules.append(("nn.SpatialMaxPooling", {"kW": 2.0}))
    modules.append(("nn.View", {"numElements": 1}))
    for name in ("fc6", "fc7", "fc8"):
        fields = {"weight": state[f"{name}.weight"].numpy(), "bias": state[f"{name}.bias"].numpy()}
        modules += [("nn.Linear", fields), ("nn.Dropout", {"p": 0.5})]
    modules.append(("nn.SoftMax", {}))
    return dict(enumerate(modules, start=1))


def torch7_bytes(value: Any) -> bytes:
    file = Torch7()
    file.value(value)
    return file.content


def write_torch7(path: Path, state: State) -> Callable[[Tensor], Tensor]:
    modules = torch7_modules(state)
    path.write_bytes(torch7_bytes(("nn.Sequential", {"modules": modules, "_type": "Float"})))

    def native(rgb: Tensor) -> Tensor:
        layers = [fields for kind, fields in modules.values() if "weight" in fields]
        pairs = [(torch.tensor(f["weight"]), torch.tensor(f["bias"])) for f in layers]
        convs = [(weight.reshape(len(weight), -1, 3, 3), bias) for weight, bias in pairs[:13]]
        x = trunk(rgb.flip(1) - MEANS.flip(1), convs).flatten(1)
        for weight, bias in pairs[13:15]:
            x = functional.relu(functional.linear(x, weight, bias))
        return x

    return native


# Keras -------------------------------------------------------------------------------------------


def write_keras(path: Path, layers: list[tuple[str, list[np.ndarray]]], top: str = "") -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group(top) if top else file
        group.attrs["layer_names"] = [name.encode() for name, _ in layers]
        for name, arrays in layers:
            own = group.create_group(name)
            names = [f"{name}/{part}:0" for part in ("kernel", "bias")][: len(arrays)]
            own.attrs["weight_names"] = [each.encode() for each in names]
            for each, array in zip(names, arrays, strict=True):
                own.create_dataset(each, data=array)


def keras_convolutions(state: State) -> dict[str, list[np.ndarray]]:
    """HWIO kernels that take B, G, R."""
    found = {}
    for name in CONVOLUTIONS:
        weight = state[f"{name}.weight"]
        weight = weight.flip(1) if name == "conv1_1" else weight
        found[name] = [weight.permute(2, 3, 1, 0).numpy(), state[f"{name}.bias"].numpy()]
    return found


def keras_trunk(layers: dict[str, list[np.ndarray]], rgb: Tensor) -> Tensor:
    pairs = [(torch.tensor(kernel).permute(3, 2, 0, 1), torch.tensor(bias))
             for kernel, bias in layers.values()]  # fmt: skip
    return trunk(rgb.flip(1) - MEANS.flip(1), pairs)


def write_deepface(path: Path, state: State) -> Callable[[Tensor], Tensor]:
    """Convolutions only, fc6 over the 7x7 grid; layers are named by Keras."""
    convs = keras_convolutions(state)
    heads = []
    for name, side in (("fc6", 7), ("fc7", 1), ("fc8", 1)):
        weight = state[f"{name}.weight"]
        kernel = weight.reshape(len(weight), -1, side, side).permute(2, 3, 1, 0).numpy()
        heads.append([kernel, state[f"{name}.bias"].numpy()])
    layers: list[tuple[str, list[np.ndarray]]] = [("zero_padding2d_1", [])]
    for number, arrays in enumerate([*convs.values(), *heads], start=1):
        layers += [(f"conv2d_{number}", arrays), (f"dropout_{number}", [])]
    write_keras(path, layers)

    def native(rgb: Tensor) -> Tensor:
        x = keras_trunk(convs, rgb)
        for kernel, bias in heads[:2]:
            weight = torch.tensor(kernel).permute(3, 2, 0, 1)
            x = functional.relu(functional.conv2d(x, weight, torch.tensor(bias)))
        return x.flatten(1)

    return native


def write_rcmalli(
    path: Path, state: State, *, top: bool = True, group: str = ""
) -> Callable[[Tensor], Tensor]:
    """Named layers; fc6 is a Dense layer over rows, columns, channels."""
    convs = keras_convolutions(state)
    weight = state["fc6.weight"]
    across = weight.reshape(len(weight), -1, 7, 7).permute(2, 3, 1, 0).reshape(-1, len(weight))
    dense = {"fc6": [across.numpy(), state["fc6.bias"].numpy()]}
    for name in ("fc7", "fc8"):
        dense[name] = [state[f"{name}.weight"].T.numpy(), state[f"{name}.bias"].numpy()]
    write_keras(path, [*convs.items(), ("pool5", []), *(dense.items() if top else ())], top=group)

    def native(rgb: Tensor) -> Tensor:
        x = keras_trunk(convs, rgb).permute(0, 2, 3, 1).flatten(1)
        for name in ("fc6", "fc7"):
            kernel, bias = map(torch.tensor, dense[name])
            x = functional.relu(x @ kernel + bias)
        return x

    return native


WRITERS: dict[str, Callable[[Path, State], Callable[[Tensor], Tensor]]] = {
    "vgg_face_dag.pth": write_dag,
    "vggface-9d491dd7c30312.pth": write_blocks,
    "VGG_FACE.t7": write_torch7,
    "vgg_face_weights.h5": write_deepface,
    "rcmalli_vggface_tf_vgg16.h5": write_rcmalli,
    "whole_model.h5": lambda path, state: write_rcmalli(path, state, group="model_weights"),
}
