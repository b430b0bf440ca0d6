"""What the inputs of docs/inputs.md cost: milliseconds per key frame of an invented clip.

    python benchmarks/inputs.py [--frames 64] [--size 160]

One clip of smooth noise that drifts; each input shows 8 of its frames. Magnification has to look at
every frame of the clip, whatever the number shown.
"""

from __future__ import annotations

import argparse
import os
from time import perf_counter

import cv2
import numpy as np

from mer_search.features.flow import METHODS
from mer_search.features.inputs import Stream, show

SHOWN = 8


def clip(frames: int, size: int) -> np.ndarray:
    """uint8 [T, S, S, 3]."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (size // 8, size // 8, 3)).astype(np.uint8)
    wide = cv2.resize(small, (size + frames, size), interpolation=cv2.INTER_CUBIC)
    return np.stack([wide[:, t // 4 : t // 4 + size] for t in range(frames)])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--frames", type=int, default=64)
    asked.add_argument("--size", type=int, default=160)
    given = asked.parse_args()
    faces = clip(given.frames, given.size)
    wanted = np.linspace(0, given.frames - 1, SHOWN).round().astype(int).tolist()
    cases = {"difference": Stream("difference"), "magnified": Stream(magnification=8.0)}
    cases |= {f"flow, {name}": Stream("flow", name) for name in METHODS}
    cases |= {"mirrored": Stream(flip=True), "small affine": Stream(affine=1)}
    print(f"{SHOWN} of {given.frames} frames, {given.size}x{given.size}, {os.cpu_count()} cores")
    for name, stream in cases.items():
        read = stream.reads(wanted, frames=len(faces), onset=0)
        took = []
        for _ in range(3):
            begun = perf_counter()
            show(faces[read], read, wanted, stream, onset=0)
            took.append(perf_counter() - begun)
        print(f"{name:18} {min(took) / SHOWN * 1e3:8.1f} ms per frame shown")


if __name__ == "__main__":
    main()
