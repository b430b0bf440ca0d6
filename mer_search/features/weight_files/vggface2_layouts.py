"""VGGFace2's ResNet-50 and SE-ResNet-50, in whatever layout -> torchvision's keys, RGB input.

| file | recognised by | what is turned |
|---|---|---|
| resnet50_ft_dag.pth, senet50_..., ..._scratch_... | key conv1_7x7_s2.weight | names |
| resnet50_ft_weight.pkl, senet50_... | pickled arrays, key layer1.0.conv1.weight | BGR, names |
| rcmalli_vggface_tf_resnet50.h5, ..._senet50.h5, notop | Keras, layer conv1/7x7_s2 | BGR, HWIO |

All are copies of the authors' Caffe files, for images of 0-255 minus the channel means. The last
layer (8631 identities) is left out. keras-vggface pads and rounds a little otherwise and adds 1e-3
or 1e-4 to variances; that is its program, not in its files, and is not followed here.
Not for opening files: see `layouts`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer_search.features.weight_files.vgg_layouts import bgr_to_rgb, oihw, tensor

State = dict[str, Tensor]
Array = NDArray[np.float32]
Found = tuple[State, str]
"""A state and the name of its network."""
IDENTITIES = 8631
STEM = "conv1_7x7_s2"
PARTS = {
    "1x1_reduce": ("conv1", "bn1"),
    "3x3": ("conv2", "bn2"),
    "1x1_increase": ("conv3", "bn3"),
    "1x1_proj": ("downsample.0", "downsample.1"),
    "1x1_down": ("excite.fc1", ""),
    "1x1_up": ("excite.fc2", ""),
}
"""Layer of a block as published -> ours, and its batch normalisation."""
NORM = ("weight", "bias", "running_mean", "running_var")
"""Tensors of a batch normalisation, in the order in which Keras keeps them."""


def from_torch(loaded: Mapping[str, Tensor]) -> Found | None:
    """The state of a file by S. Albanie; None where it is none of VGGFace2."""
    if f"{STEM}.weight" not in loaded:
        return None
    state: State = {}
    for key, value in loaded.items():
        layer, _, part = key.rpartition(".")
        if layer != "classifier":
            state[f"{renamed(layer)}.{part}"] = value
    return _complete(state)


def from_pickle(arrays: Mapping[str, Array]) -> Found | None:
    """The state of a file of VGGFace2-pytorch; None for another ResNet, such as ImageNet's."""
    last = arrays.get("fc.weight")
    if "layer1.0.conv1.weight" not in arrays or last is None or len(last) != IDENTITIES:
        return None
    state = {}
    for key, array in arrays.items():
        if not key.startswith("fc."):
            own = key.replace(".conv4.", ".excite.fc1.").replace(".conv5.", ".excite.fc2.")
            state[own] = tensor(array)
    return _complete(state | {"conv1.weight": bgr_to_rgb(state["conv1.weight"])})


def from_keras(layers: Sequence[tuple[str, Sequence[Array]]]) -> Found | None:
    """The state of a Keras file's layers (name, arrays); None where it is none of VGGFace2."""
    state: State = {}
    for name, arrays in layers:
        layer = name.replace("/", "_")
        if layer == "classifier":
            continue
        if len(arrays) == len(NORM):
            state |= {
                f"{renamed(layer)}.{part}": tensor(array)
                for part, array in zip(NORM, arrays, strict=True)
            }
        else:
            kernel, *bias = arrays
            if kernel.ndim != 4:
                return None
            state[f"{renamed(layer)}.weight"] = tensor(oihw(kernel))
            state |= {f"{renamed(layer)}.bias": tensor(array) for array in bias[:1]}
    if "conv1.weight" not in state:
        return None
    return _complete(state | {"conv1.weight": bgr_to_rgb(state["conv1.weight"])})


def renamed(layer: str) -> str:
    """`conv3_1_1x1_reduce_bn` -> `layer2.0.bn1`; an unknown name stays."""
    if layer in (STEM, f"{STEM}_bn"):
        return "bn1" if layer.endswith("_bn") else "conv1"
    found = re.fullmatch(rf"conv([2-5])_(\d)_({'|'.join(PARTS)})(_bn)?", layer)
    if not found:
        return layer
    return f"layer{int(found[1]) - 1}.{int(found[2]) - 1}.{PARTS[found[3]][bool(found[4])]}"


def _complete(state: State) -> Found:
    """With the counters that PyTorch's batch normalisation keeps; the name by what is there."""
    counted = {
        key.replace("running_mean", "num_batches_tracked"): torch.tensor(0)
        for key in state
        if key.endswith("running_mean")
    }
    excited = any(".excite." in key for key in state)
    return counted | state, "senet50-vggface2" if excited else "resnet50-vggface2"
