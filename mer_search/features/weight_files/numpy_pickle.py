"""Reads a pickled dict of numpy arrays as data. Nothing that the file names is imported or called.

The few names that numpy writes stand for inert records here, from which arrays are built by hand;
any other name is refused. Not for PyTorch's own files.
"""

from __future__ import annotations

import pickle
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

NUMBERS = re.compile(r"[fiu][1248]")


@dataclass
class _Type:
    """Stands for numpy.dtype."""

    code: Any
    align: Any = False
    copy: Any = False
    order: Any = "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        code, order = _text(self.code), _text(self.order)
        if not NUMBERS.fullmatch(code) or order not in ("<", ">", "|", "="):
            raise ValueError(f"has an array of type {code!r}")
        return np.dtype(order + code)


@dataclass
class _Array:
    """Stands for numpy.ndarray."""

    shape: Any = ()
    kind: Any = None
    fortran: Any = False
    content: Any = b""

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.kind, self.fortran, self.content = state

    def values(self) -> NDArray[Any]:
        if not isinstance(self.kind, _Type):
            raise ValueError("has an array without a type")
        # Python 2 wrote bytes as text, one character each.
        text = isinstance(self.content, str)
        content = self.content.encode("latin-1") if text else self.content
        flat = np.frombuffer(content, self.kind.dtype)
        return flat.reshape(self.shape, order="F" if self.fortran else "C").copy()


class _Reader(pickle._Unpickler):
    """An unpickler that knows numpy's few names, and these as records only.

    Not the one written in C: that one takes as much memory as a torn file names.
    """

    read: Any
    append: Any
    known: ClassVar[dict[str, Any]] = {
        "multiarray._reconstruct": lambda *_: _Array(),
        "numeric._frombuffer": lambda content, kind, shape, order: _Array(
            shape, kind, order == "F", bytes(content)
        ),
        "numpy.ndarray": _Array,
        "numpy.dtype": _Type,
        "_codecs.encode": lambda text, _: text.encode("latin-1"),
        "__builtin__.bytes": lambda: b"",  # how old protocols write no bytes
        "collections.OrderedDict": dict,
    }

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(size))  # Python's own fills `size` bytes before it looks for them

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }

    def find_class(self, module: str, name: str) -> Any:
        stem = re.sub(r"^numpy\._?core\.", "", module)
        if f"{stem}.{name}" not in self.known:
            raise pickle.UnpicklingError(f"names {module}.{name}, which is no array")
        return self.known[f"{stem}.{name}"]


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a pickled dict by name.

    Raises:
        ValueError: the file is no such pickle, ends too early, or names anything but arrays.
    """
    try:
        with path.open("rb") as file:
            found = _Reader(file, encoding="latin-1").load()
        if not isinstance(found, dict) or not found:
            raise ValueError("holds no dict of arrays")
        return {_text(key): _values(value) for key, value in found.items()}
    # A file that is no pickle can fail in each of these ways; none of them runs any of it.
    except (
        pickle.UnpicklingError, struct.error, EOFError, TypeError, AttributeError, LookupError,
        OverflowError, MemoryError, RecursionError, AssertionError,
    ) as problem:  # fmt: skip
        raise ValueError(f"is no pickle of arrays ({problem})") from problem


def _values(value: Any) -> NDArray[Any]:
    if not isinstance(value, _Array):
        raise ValueError("holds something that is no array")
    return value.values()


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
