"""Reads a Torch7 file (.t7, binary, 64 bit) as data. No Lua, and nothing is run.

The format: each value is a type number (int32) and its content; tables and Torch objects carry an
index, under which they may occur again. Source: `File.lua` and the C sources of torch7.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NIL, NUMBER, STRING, TABLE, OBJECT, BOOLEAN, *FUNCTIONS = range(9)
ELEMENTS = {"Float": "<f4", "Double": "<f8", "Cuda": "<f4", "Long": "<i8", "Int": "<i4",
            "Byte": "<u1", "Char": "<i1", "Short": "<i2"}  # fmt: skip
DEEPEST = 60
"""Tables inside tables; a network has about six levels."""
START = (b"\x03\x00\x00\x00\x01\x00\x00\x00", b"\x04\x00\x00\x00\x01\x00\x00\x00")
"""A file's first value is a table or an object, and the first of all."""


@dataclass
class Module:
    """A Torch object that is no tensor: its class and its fields."""

    kind: str
    fields: dict[Any, Any] = field(default_factory=dict)


def read(path: Path) -> Any:
    """The value of a file: tables as dicts, tensors as arrays, other objects as `Module`.

    Raises:
        ValueError: the file is none, ends too early, or holds functions.
    """
    with path.open("rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # nothing can be mapped of an empty file
            raise ValueError("is empty") from None
        return _Reader(content).value()


def modules(value: Any) -> Iterator[Module]:
    """A network's modules in order, containers before what they hold."""
    if isinstance(value, Module):
        yield value
        inner = value.fields.get("modules")
        if isinstance(inner, dict):
            for position in sorted(key for key in inner if isinstance(key, float | int)):
                yield from modules(inner[position])


class _Reader:
    """A cursor over the file's bytes."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.at = content, 0
        self.known: dict[int, Any] = {}

    def take(self, count: int) -> int:
        """Moves past `count` bytes; where they begin."""
        start = self.at
        if count < 0 or start + count > len(self.content):
            raise ValueError(f"ends at byte {len(self.content)}, too early")
        self.at += count
        return start

    def unpack(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self.content, self.take(struct.calcsize(form)))
        return value

    def text(self) -> str:
        length = self.unpack("<i")
        start = self.take(length)
        return self.content[start : start + length].decode("latin-1")

    def value(self, depth: int = 0) -> Any:
        kind = self.unpack("<i")
        if depth > DEEPEST:
            raise ValueError(f"nests deeper than {DEEPEST} levels")
        if kind == NIL:
            return None
        if kind == NUMBER:
            return self.unpack("<d")
        if kind == STRING:
            return self.text()
        if kind == BOOLEAN:
            return self.unpack("<i") == 1
        if kind in (TABLE, OBJECT):
            index = self.unpack("<i")
            if index not in self.known:
                read = self.table if kind == TABLE else self.object
                read(index, depth + 1)
            return self.known[index]
        if kind in FUNCTIONS:
            raise ValueError("holds a function, which would be code to run")
        raise ValueError(f"has no value of type {kind} in Torch7")

    def table(self, index: int, depth: int) -> None:
        found: dict[Any, Any] = {}
        self.known[index] = found
        for _ in range(self.unpack("<i")):
            key = self.value(depth)
            if isinstance(key, dict | Module | np.ndarray):
                raise ValueError("has a table as key")
            found[key] = self.value(depth)

    def object(self, index: int, depth: int) -> None:
        """After its class name, a tensor, its storage, or a table of fields."""
        name = self.text()
        if name.startswith("V "):
            name = self.text()
        element = ELEMENTS.get(name.removeprefix("torch.").removesuffix("Tensor"))
        stored = ELEMENTS.get(name.removeprefix("torch.").removesuffix("Storage"))
        if element and name.endswith("Tensor"):
            self.known[index] = self.tensor(element, depth)
        elif stored and name.endswith("Storage"):
            size = self.unpack("<q")
            start = self.take(size * np.dtype(stored).itemsize)
            self.known[index] = np.frombuffer(self.content, stored, size, start)
        else:
            module = self.known[index] = Module(name)
            fields = self.value(depth)
            module.fields = fields if isinstance(fields, dict) else {}

    def tensor(self, element: str, depth: int) -> NDArray[Any]:
        """Sizes, strides and offset (from 1) into a storage; copied out of the file."""
        axes = self.unpack("<i")
        if not 0 <= axes <= 8:
            raise ValueError(f"has a tensor of {axes} axes")
        shape = [self.unpack("<q") for _ in range(axes)]
        strides = [self.unpack("<q") for _ in range(axes)]
        offset = self.unpack("<q") - 1
        storage = self.value(depth)
        if storage is None or axes == 0:
            return np.zeros(0, element)
        last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
        fits = isinstance(storage, np.ndarray) and storage.dtype == np.dtype(element)
        if not fits or min(shape) < 1 or min(strides) < 0 or not 0 <= offset <= last < len(storage):
            raise ValueError(f"has a tensor {shape} that its storage does not hold")
        steps = [step * storage.itemsize for step in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps).copy()
