"""VGGFace2's layouts written by hand: a narrow network's weights in each, and what each computes.

Narrow: blocks of 4 to 32 channels inside. Blocks, strides, pools and the input are the real ones.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_search.features import networks, resnets

NAMES = ("resnet50-vggface2", "senet50-vggface2")
MEANS = torch.tensor([131.0912, 103.8827, 91.4953]).reshape(1, 3, 1, 1)  # R, G, B
IDENTITIES = 8631
State = dict[str, Tensor]
Native = Callable[[Tensor], Tensor]
OURS = {"reduce": ("conv1", "bn1"), "3x3": ("conv2", "bn2"), "increase": ("conv3", "bn3"),
        "proj": ("downsample.0", "downsample.1"), "down": ("excite.fc1", ""),
        "up": ("excite.fc2", "")}  # fmt: skip


def narrow(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[nn.Module, State]:
    """The reference network and its state, with norms that do something."""
    monkeypatch.setattr(resnets, "WIDTH", 4)
    net = networks.network(name).eval()
    networks.randomise(net, seed=5)
    generator = torch.Generator().manual_seed(6)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        if value.ndim == 1:
            low = 0.5 if key.endswith(("weight", "running_var")) else -0.3
            state[key] = low + torch.rand(value.shape, generator=generator)
        # Sixteen blocks that each doubled their input would make any rounding a large difference.
        if ".bn3.weight" in key or ".excite." in key:
            state[key] *= 0.1
    net.load_state_dict(state)
    return net, state


def published(state: State) -> dict[str, Tensor]:
    """`layer2.0.bn1.bias` as `conv3_1_1x1_reduce_bn.bias`, as the authors name it."""
    found = {}
    for key, value in state.items():
        layer, part = key.rsplit(".", 1)
        if not layer.startswith("layer"):
            found[f"conv1_7x7_s2{'_bn' if layer == 'bn1' else ''}.{part}"] = value
            continue
        stage, block, inner = layer.removeprefix("layer").split(".", 2)
        word, pair = next((w, p) for w, p in OURS.items() if inner in p)
        kind = word if word == "3x3" else f"1x1_{word}"
        norm = "_bn" if inner == pair[1] else ""
        found[f"conv{int(stage) + 1}_{int(block) + 1}_{kind}{norm}.{part}"] = value
    return found


def compute(own: dict[str, Tensor], x: Tensor) -> Tensor:
    """conv5_3 of the network by its published names, from images minus their means."""

    def conv(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        y = functional.conv2d(x, own[f"{name}.weight"], None, stride, padding)
        norm = [own[f"{name}_bn.{part}"] for part in ("running_mean", "running_var")]
        return functional.batch_norm(y, *norm, own[f"{name}_bn.weight"], own[f"{name}_bn.bias"])

    x = functional.relu(conv("conv1_7x7_s2", x, 2, 3))
    x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for block in range(1, blocks + 1):
            at = f"conv{stage}_{block}"
            stride = 2 if block == 1 and stage > 2 else 1
            y = functional.relu(conv(f"{at}_1x1_reduce", x, stride))
            y = functional.relu(conv(f"{at}_3x3", y, 1, 1))
            y = conv(f"{at}_1x1_increase", y)
            if f"{at}_1x1_down.weight" in own:
                down, up = f"{at}_1x1_down", f"{at}_1x1_up"
                z = y.mean((2, 3), keepdim=True)
                z = functional.conv2d(z, own[f"{down}.weight"], own[f"{down}.bias"]).relu()
                y = y * functional.conv2d(z, own[f"{up}.weight"], own[f"{up}.bias"]).sigmoid()
            shortcut = conv(f"{at}_1x1_proj", x, stride) if block == 1 else x
            x = functional.relu(y + shortcut)
    return x


def write_dag(path: Path, state: State) -> Native:
    """PyTorch, published names, R, G, B; early files lack PyTorch's counters."""
    own = published(state)
    kept = {key: value for key, value in own.items() if "num_batches" not in key}
    kept["classifier.weight"] = torch.zeros(IDENTITIES, 2, 1, 1)
    torch.save(kept | {"classifier.bias": torch.zeros(IDENTITIES)}, path)
    return lambda rgb: compute(own, rgb - MEANS)


def arrays_of(state: State, classes: int = IDENTITIES) -> dict[str, np.ndarray]:
    """torchvision's names with conv4 and conv5 for squeeze and excitation; B, G, R."""
    own = {}
    for key, value in state.items():
        name = key.replace("excite.fc1", "conv4").replace("excite.fc2", "conv5")
        if "num_batches" not in key:
            own[name] = (value.flip(1) if key == "conv1.weight" else value).numpy()
    return own | {"fc.weight": np.zeros((classes, 2), "f4"), "fc.bias": np.zeros(classes, "f4")}


def write_pickle(path: Path, state: State, protocol: int = 2) -> Native:
    own = arrays_of(state)
    path.write_bytes(pickle.dumps(own, protocol))
    turned = {key: torch.tensor(own[key]) if key in own else value for key, value in state.items()}
    return lambda rgb: compute(published(turned), rgb.flip(1) - MEANS.flip(1))


def write_keras(path: Path, state: State, *, top: bool = True) -> Native:
    """Layers with slashes in their names, kernels HWIO for B, G, R."""
    own = published(state)
    own["conv1_7x7_s2.weight"] = own["conv1_7x7_s2.weight"].flip(1)
    layers: dict[str, dict[str, np.ndarray]] = {"input_1": {}}
    for key, value in own.items():
        layer, part = key.rsplit(".", 1)
        words = {"running_mean": "moving_mean", "running_var": "moving_variance"}
        words |= {"weight": "gamma", "bias": "beta"} if layer.endswith("_bn") else {}
        word = words.get(part, {"weight": "kernel"}.get(part, part))
        name = layer.replace("conv1_7x7", "conv1/7x7").removesuffix("_bn")
        name += "/bn" if layer.endswith("_bn") else ""
        if part != "num_batches_tracked":
            array = value.permute(2, 3, 1, 0) if word == "kernel" else value
            layers.setdefault(name, {})[word] = array.numpy()
    if top:
        layers["classifier"] = {"kernel": np.zeros((2, IDENTITIES), "f4"),
                                "bias": np.zeros(IDENTITIES, "f4")}  # fmt: skip
    order = ["kernel", "gamma", "bias", "beta", "moving_mean", "moving_variance"]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            group = file.require_group(name)
            words = sorted(arrays, key=order.index)
            group.attrs["weight_names"] = [f"{name}/{word}:0".encode() for word in words]
            for word in words:
                group.create_dataset(f"{name}/{word}:0", data=arrays[word])
    return lambda rgb: compute(own, rgb.flip(1) - MEANS.flip(1))


WRITERS: dict[str, Callable[[Path, State], Native]] = {
    "dag.pth": write_dag,
    "weight.pkl": write_pickle,
    "python2.pkl": lambda path, state: write_pickle(path, state, 0),
    "own.pkl": lambda path, state: write_pickle(path, state, pickle.HIGHEST_PROTOCOL),
    "rcmalli.h5": write_keras,
    "rcmalli_notop.h5": lambda path, state: write_keras(path, state, top=False),
}
