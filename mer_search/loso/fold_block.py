"""What one block of folds predicted, and its bytes in the ledger. Not for where they are kept."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FORMAT = 1


@dataclass(frozen=True)
class FoldBlock:
    """What one block of folds predicted: n held-out clips, C classes.

    Attributes:
        keys: `dataset/subject/name` of the held-out clips [n].
        probs: float32 [n, C], each clip scored by the fold that never saw it.
        seed: of weights, order and dropout.
        seconds: training and prediction, wall time.
        finished: seconds since the epoch.
        maps: attention of those clips, float16 [n, ...] ("temporal", "spatial").
    """

    keys: tuple[str, ...]
    probs: NDArray[np.float32]
    seed: int
    seconds: float
    finished: float
    maps: dict[str, NDArray[np.float16]] = field(default_factory=dict)


def packed(block: FoldBlock) -> bytes:
    """The content of a block's file."""
    maps = {f"map_{name}": value.astype(np.float16) for name, value in block.maps.items()}
    out = io.BytesIO()
    np.savez(out, format=FORMAT, keys=np.array(block.keys), probs=block.probs,
             seed=block.seed, seconds=block.seconds, finished=block.finished,
             **maps)  # type: ignore[arg-type]  # fmt: skip
    return out.getvalue()


def unpacked(content: bytes) -> FoldBlock:
    """The block that `packed` wrote. Raises ValueError, KeyError, or what zip files raise."""
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = dict(stored)
    if int(arrays["format"]) != FORMAT:
        raise ValueError(f"format {arrays['format']} is not {FORMAT}")
    return FoldBlock(
        keys=tuple(map(str, arrays["keys"])),
        probs=arrays["probs"],
        seed=int(arrays["seed"]),
        seconds=float(arrays["seconds"]),
        finished=float(arrays["finished"]),
        maps={key[4:]: value for key, value in arrays.items() if key.startswith("map_")},
    )


def whole(content: bytes) -> bool:
    """Whether the checksums of a block's file hold, without reading what it holds.

    Members are stored as they are, so that their bytes can be summed where they lie.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            return all(_sound(content, member) for member in file.infolist())
    # zipfile has no one error for bits that flip in its own headers
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError,
            zlib.error, RuntimeError, struct.error):  # fmt: skip
        return False


def _sound(content: bytes, member: zipfile.ZipInfo) -> bool:
    """One member: its own header agrees with the directory, and its bytes with the checksum."""
    at = member.header_offset
    mark, method, name, extra = struct.unpack("<4s4xH16xHH", content[at : at + 30])
    if mark != b"PK\x03\x04" or {method, member.compress_type} != {zipfile.ZIP_STORED}:
        return False
    start = at + 30 + name + extra
    data = content[start : start + member.file_size]
    named = content[at + 30 : at + 30 + name] == member.filename.encode()
    return named and len(data) == member.file_size and zlib.crc32(data) == member.CRC
