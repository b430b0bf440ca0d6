"""Frames per second of the face networks: in batches, against one frame at a time.

    python benchmarks/extraction.py [--seconds 5] [--networks vgg-face] [--precisions fp32 bf16]

Both sides run in one process, in turns, on random weights and pictures (speed does not depend on
them). The baseline is the plain module in fp32, one frame after another, as scripts usually do it.
"of peak" is the share of the floating-point rate that a large matrix product reaches here.
A processor without bf16 instructions takes three minutes for a batch of VGG-Face in bf16: leave it
out there (`--precisions fp32`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mer_search.features.backbones import BATCH, INPUTS, FaceNetwork, build
from mer_search.features.networks import cut, network, randomise

LAYER = {"vgg-face": "pool5", "facenet-casia": "block8"}
KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}
ROUNDS = 3
Work = Callable[[], int]


def rate(work: Work, seconds: float) -> float:
    """Units per second; `work` returns how many it did."""
    done, begun = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - begun < seconds:
        done += work()
    return done / (time.perf_counter() - begun)


def peak(kind: torch.dtype, seconds: float, size: int = 4096) -> float:
    """Floating-point operations per second of a square matrix product."""
    a, b = torch.randn(size, size).to(kind), torch.randn(size, size).to(kind)

    def product() -> int:
        torch.mm(a, b)
        return 2 * size**3

    product()
    return rate(product, seconds)


def operations(name: str) -> int:
    """Floating-point operations for one frame."""
    size = INPUTS[name].size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        cut(network(name), LAYER[name])(torch.zeros(1, 3, size, size, device="meta"))
    return counter.get_total_flops()


def sides(name: str, precisions: list[str]) -> dict[str, Work]:
    """The ways to embed; each call does one frame, or one batch."""
    size = INPUTS[name].size
    images = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)
    net = network(name).eval()
    randomise(net)
    plain = cut(net, LAYER[name])
    single = torch.from_numpy(images[:1]).permute(0, 3, 1, 2).float().contiguous() / 128 - 1

    def one() -> int:
        with torch.no_grad():
            plain(single)
        return 1

    def batched(precision: str) -> Work:
        net = build(name, LAYER[name], pretrained=False, precision=precision)
        assert isinstance(net, FaceNetwork)
        return lambda: len(net.embed(images))

    batches = {f"batches of {BATCH}, {kind}": batched(kind) for kind in precisions}
    return {"one by one, fp32": one, **batches}


def compare(name: str, seconds: float, peaks: dict[str, float]) -> None:
    """Prints one table: the median over rounds in which the sides take turns."""
    work = sides(name, [kind for kind in KINDS if kind in peaks])
    for warm_up in work.values():
        warm_up()
    found: dict[str, list[float]] = {side: [] for side in work}
    for _ in range(ROUNDS):
        for side, embed in work.items():
            found[side].append(rate(embed, seconds / ROUNDS))
    medians = {side: float(np.median(values)) for side, values in found.items()}
    cost, base = operations(name), next(iter(medians.values()))
    print(f"\n{name} {LAYER[name]}: {cost / 1e9:.1f} GFLOP a frame")
    print(f"{'':24}{'frames/s':>10}{'times':>8}{'of peak':>9}")
    for side, value in medians.items():
        share = value * cost / peaks[side[-4:]]
        print(f"{side:24}{value:10.1f}{value / base:8.1f}{share:9.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="per side")
    parser.add_argument("--networks", nargs="+", default=list(LAYER), choices=list(LAYER))
    parser.add_argument("--precisions", nargs="+", default=list(KINDS), choices=list(KINDS))
    chosen = parser.parse_args()
    peaks = {name: peak(KINDS[name], 1.0) for name in dict.fromkeys(["fp32", *chosen.precisions])}
    told = ", ".join(f"{name} {value / 1e9:.0f} GFLOP/s" for name, value in peaks.items())
    print(f"{torch.get_num_threads()} threads; matrix product: {told}")
    for name in chosen.networks:
        compare(name, chosen.seconds, peaks)


if __name__ == "__main__":
    main()
