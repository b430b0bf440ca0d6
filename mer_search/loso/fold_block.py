"""What one block of folds predicted, and its bytes in the ledger. Not for where they are kept."""

from __future__ import annotations

import io
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
