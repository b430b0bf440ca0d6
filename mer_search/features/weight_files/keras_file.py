"""Reads the layers of a Keras weight file (.h5) as arrays. No Keras, and nothing is run.

A model's description, which may hold code, is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89HDF\r\n\x1a\n"
Array = NDArray[np.float32]


def read(path: Path) -> list[tuple[str, list[Array]]]:
    """Every layer that has arrays, in the model's order: its name and its arrays in Keras's order.

    Raises:
        ValueError: the file is damaged, or no weight file of Keras 2.
    """
    try:
        with h5py.File(path, "r") as file:
            top = file.get("model_weights", file)
            return list(_layers(top))
    except (OSError, KeyError, RuntimeError, TypeError, AttributeError) as problem:
        raise ValueError(f"no readable Keras file ({problem})") from problem


def _layers(top: h5py.Group) -> Iterator[tuple[str, list[Array]]]:
    for name in _names(top, "layer_names"):
        group = top[name]
        values = [np.asarray(group[each], np.float32) for each in _names(group, "weight_names")]
        if values:
            yield name, values


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names; Keras splits long ones over `layer_names0`, `layer_names1`, ..."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        count = sum(1 for name in group.attrs if name.startswith(attribute))
        if not count:
            raise KeyError(f"no attribute {attribute}")
        parts = [group.attrs[f"{attribute}{number}"] for number in range(count)]
    names = [name for part in parts for name in part]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
