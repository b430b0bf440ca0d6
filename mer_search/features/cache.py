"""A content-addressed cache of arrays: complete or absent, checked on the first read.

One safetensors file per key. Not for deciding what a key is made of: `plan.py` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mer_search.errors import DamagedRecord
from mer_search.features.weights import home

Arrays = dict[str, NDArray[Any]]
CHUNK = 1 << 20
ABANDONED = 3600.0  # seconds after which a half-written file has no writer


@dataclass(frozen=True)
class Cache:
    """A folder of entries, safe for several processes and machines that share it."""

    root: Path

    @classmethod
    def default(cls) -> Cache:
        """The one below `home()`."""
        return cls(home() / "features")

    def path(self, key: str) -> Path:
        """Where the entry of `key` is or would be."""
        return self.root / key[:2] / f"{key}.safetensors"

    def has(self, key: str) -> bool:
        """Whether the entry exists; says nothing about its being intact."""
        return self.path(key).exists()

    def arrays(self, key: str, names: Sequence[str] | None = None) -> Arrays | None:
        """Arrays of an entry (by default all), or None where there is no entry.

        Raises:
            DamagedRecord: if the entry is not what was written.
        """
        with self._open(key) as entry:
            if entry is None:
                return None
            present = set(entry.keys())
            wanted = present if names is None else present.intersection(names)
            return {name: entry.get_tensor(name) for name in sorted(wanted)}

    def rows(self, key: str, name: str, positions: Sequence[int]) -> NDArray[Any]:
        """Rows of one array; only these are read from the memory-mapped file.

        Raises:
            DamagedRecord: if the entry is absent, or not what was written.
        """
        with self._open(key) as entry:
            if entry is None:
                raise DamagedRecord(f"{self.path(key)}: the cache entry is gone; extract again")
            stored = entry.get_slice(name)
            return np.concatenate([stored[row : row + 1] for row in positions])

    def write(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Puts an entry in place of any older one, all at once."""
        plain = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
        content = save(plain)
        start = 8 + int.from_bytes(content[:8], "little")
        digest = hashlib.sha256(content[start:]).hexdigest()
        self.put(key, save(plain, {"sha256": digest}))

    def put(self, key: str, content: bytes) -> None:
        """Puts the bytes of an entry, as another cache holds them, in place of any older one."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_name(f"{uuid4().hex}.part")
        try:
            written.write_bytes(content)
            os.replace(written, path)
        finally:
            written.unlink(missing_ok=True)

    def digest(self, key: str) -> str:
        """What the entry promises to hold, or "" where there is none; reads its header only."""
        try:
            with safe_open(self.path(key), framework="numpy") as entry:
                return str((entry.metadata() or {}).get("sha256", ""))
        except (SafetensorError, json.JSONDecodeError, OSError):
            return ""

    def identity(self, *, create: bool = True) -> str:
        """A name of this folder by which other machines recognise it; "" where it has none."""
        place = self.root / "identity"
        if create and not place.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / "identity.lock"):
                if not place.exists():
                    place.write_text(uuid4().hex)
        try:
            return place.read_text()
        except OSError:
            return ""

    def lock(self, key: str) -> FileLock:
        """Held by whoever computes this entry."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{key}.lock")

    def clean(self, keep: Collection[str]) -> tuple[int, int]:
        """Removes every entry whose key is not in `keep`; returns how many, and their bytes."""
        gone = [p for p in self.root.glob("??/*.safetensors") if p.stem not in keep]
        size = sum(path.stat().st_size for path in gone)
        for path in gone:
            path.unlink(missing_ok=True)
        for lock in self.root.glob("locks/*.lock"):
            if lock.stem not in keep:
                lock.unlink(missing_ok=True)
        for part in self.root.glob("??/*.part"):  # left by a killed process, unless it is young
            if time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink(missing_ok=True)
        return len(gone), size

    @contextmanager
    def _open(self, key: str) -> Iterator[Any]:
        path = self.path(key)
        try:
            stat = path.stat()
        except FileNotFoundError:
            yield None
            return
        if not intact(path, stat.st_mtime_ns, stat.st_size):
            raise DamagedRecord(f"{path}: the cache entry is not what was written; extract again")
        with safe_open(path, framework="numpy") as entry:
            yield entry


@lru_cache(maxsize=1 << 17)
def intact(path: Path, changed: int, size: int) -> bool:
    """Whether an entry's bytes are those that were written; once per process and version of it.

    Reads in chunks, because pages of a mapped file count as this process's memory.
    """
    try:
        with safe_open(path, framework="numpy") as entry:
            promised = (entry.metadata() or {}).get("sha256")
    except (SafetensorError, json.JSONDecodeError, OSError):
        return False
    total = hashlib.sha256()
    with path.open("rb") as opened:
        opened.seek(8 + int.from_bytes(opened.read(8), "little"))
        while chunk := opened.read(CHUNK):
            total.update(chunk)
    return total.hexdigest() == promised
