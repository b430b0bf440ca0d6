"""VGG-Face as it is about, in whatever layout -> our keys, for RGB input of 0-255 minus the means.

| file | recognised by | what is turned |
|---|---|---|
| vgg_face_dag.pth | key conv1_1.weight | nothing |
| vggface-9d491dd7c30312.pth | key conv1.convs.0.weight | names, BGR, 0-1 |
| VGG_FACE.t7 | Torch7, 13 convolutions, 3 linear layers by position | BGR |
| vgg_face_weights.h5 (deepface) | Keras, 16 convolutions by position | BGR, HWIO |
| rcmalli_vggface_tf_vgg16.h5, notop too | Keras, layer conv1_1 | BGR, HWIO, Dense over HWC |

The last layer (2622 identities) is left out. Not for opening files: see `layouts`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer_search.features.weight_files import torch7

State = dict[str, Tensor]
Array = NDArray[np.float32]
CONVOLUTIONS = tuple(
    f"conv{stage}_{step}"
    for stage, count in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
    for step in range(1, count + 1)
)
LINEAR = ("fc6", "fc7", "fc8")
LAYERS = (*CONVOLUTIONS, *LINEAR)
GRID = 7
"""Height and width of pool5, over which fc6 runs."""


def from_torch(loaded: Mapping[str, Tensor]) -> State | None:
    """The state of a PyTorch file; None where it is none of VGG-Face."""
    if "conv1_1.weight" in loaded:
        return {key: value for key, value in loaded.items() if not key.startswith("fc8.")}
    if "conv1.convs.0.weight" not in loaded:
        return None
    state = {renamed(key): value for key, value in loaded.items()}
    state["conv1_1.weight"] = bgr_to_rgb(state["conv1_1.weight"]) / 255  # it took 0-1
    return {key: value for key, value in state.items() if not key.startswith("fc8.")}


def renamed(key: str) -> str:
    """`conv3.convs.1.bias` -> `conv3_2.bias`, `fc1.weight` -> `fc6.weight`."""
    conv = re.fullmatch(r"conv(\d)\.convs\.(\d)\.(\w+)", key)
    if conv:
        return f"conv{conv[1]}_{int(conv[2]) + 1}.{conv[3]}"
    full = re.fullmatch(r"fc([123])\.(\w+)", key)
    return f"fc{int(full[1]) + 5}.{full[2]}" if full else key


def from_torch7(value: object) -> State | None:
    """The state of a Torch7 network; None where it is not 13 convolutions and 3 linear layers."""
    found = [
        (module.fields["weight"], module.fields["bias"])
        for module in torch7.modules(value)
        if isinstance(module.fields.get("weight"), np.ndarray)
        and isinstance(module.fields.get("bias"), np.ndarray)
    ]
    if len(found) != len(LAYERS):
        return None
    state: State = {}
    for name, (weight, bias) in zip(LAYERS[:-1], found, strict=False):
        if name in CONVOLUTIONS:  # SpatialConvolutionMM keeps [out, in * 3 * 3]
            if weight.size % (len(weight) * 9):
                return None
            weight = weight.reshape(len(weight), -1, 3, 3)
        state |= {f"{name}.weight": tensor(weight), f"{name}.bias": tensor(bias)}
    state["conv1_1.weight"] = bgr_to_rgb(state["conv1_1.weight"])
    return state


def from_keras(found: Sequence[tuple[str, Sequence[Array]]]) -> State | None:
    """The state of a Keras file's layers (name, arrays) in its order; None for others.

    Convolutions are told by their kernels' four axes; fc6 may be one over the whole of pool5.
    """
    layers = [
        (name, sorted(arrays, key=lambda array: -array.ndim))
        for name, arrays in found
        if len(arrays) == 2
    ]
    names = [name for name, _ in layers]
    if "conv1_1" not in names and len(layers) == len(LAYERS):
        names = list(LAYERS)
    if not {*CONVOLUTIONS} <= {*names}:
        return None
    state: State = {}
    for name, (_, (kernel, bias)) in zip(names, layers, strict=True):
        if name not in LAYERS[:-1]:
            continue
        weight = oihw(kernel) if kernel.ndim == 4 else dense(name, kernel)
        if weight is None or (name in CONVOLUTIONS and kernel.ndim != 4):
            return None
        if name in LINEAR:
            weight = weight.reshape(len(weight), -1)
        state |= {f"{name}.weight": tensor(weight), f"{name}.bias": tensor(bias)}
    state["conv1_1.weight"] = bgr_to_rgb(state["conv1_1.weight"])
    return state


def oihw(kernel: Array) -> Array:
    """HWIO -> OIHW."""
    return kernel.transpose(3, 2, 0, 1)


def dense(name: str, kernel: Array) -> Array | None:
    """A Dense kernel [in, out] -> [out, in]; fc6's input comes as HWC and is wanted as CHW."""
    if kernel.ndim != 2 or name != "fc6":
        return kernel.T
    if len(kernel) % GRID**2:
        return None
    return oihw(kernel.reshape(GRID, GRID, -1, kernel.shape[1]))


def bgr_to_rgb(weight: Tensor) -> Tensor:
    """The first convolution for the other order of channels."""
    return weight.flip(1)


def tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
