"""How exactly matrices of fp32 are multiplied. Weights and sums stay fp32 in any case."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Within it, "bf16" lets products of fp32 matrices round their factors; sums stay fp32.

    On a GPU the factors are rounded to TF32. The switch belongs to the process, not the model.
    """
    if precision == "fp32":
        yield
        return
    cpu = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    switches = {"bf16": cpu, "tf32": torch.backends.cuda.matmul}
    before = {name: switch.fp32_precision for name, switch in switches.items()}
    try:
        for name, switch in switches.items():
            switch.fp32_precision = name
        yield
    finally:
        for name, switch in switches.items():
            switch.fp32_precision = before[name]
