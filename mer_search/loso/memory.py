"""How many folds a trial trains at once: told before it starts, kept while it runs.

A trial too large for one bank is cut into narrower ones, with the same result. The arithmetic of
what a bank needs stands in `mer_search.models.memory`.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mer_search.config import Trial
from mer_search.errors import MerSearchError
from mer_search.features.records import FeatureSet
from mer_search.loso import fine_needs
from mer_search.loso.fine_tune import FineTuning
from mer_search.loso.train import bank_bytes
from mer_search.models.catalogue import most_folds
from mer_search.models.memory import bank_width

MEMINFO = Path("/proc/meminfo")
SHARE_OF_FREE = 0.5
"""Part of the free memory a trial may plan with; the rest is for neighbours on the machine."""
SHARE_OF_TRIALS = 0.8
"""Part of the free memory that all trials of one machine plan with together."""


@dataclass(frozen=True)
class Plan:
    """How the blocks of one trial are trained.

    Attributes:
        width: folds of a bank.
        wanted: folds of a bank if memory did not matter.
        folds: of the largest block.
        needs: bytes of a bank in training, with the features.
        given: bytes that the trial may plan with.
        seconds: where folds are fine-tuned one after another: of one, by a step of it.
    """

    width: int
    wanted: int
    folds: int
    needs: int
    given: int
    seconds: float | None = None

    def as_record(self) -> dict[str, Any]:
        """As trial.json keeps it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def told(self) -> str:
        """The plan in a sentence."""
        size = f"{_size(self.needs)} of {_size(self.given)}"
        if self.seconds is not None:
            return (
                f"{_folds(self.folds)} one after another: {size}, about {self.seconds:.1f} s each"
            )
        cut = "" if self.width == self.folds else f" of {self.folds}"
        cut += ", for lack of memory" if self.width < self.wanted else ""
        return f"{_folds(self.width)} at once{cut}: {size}"


def free_bytes(device: str) -> int:
    """Memory that is free now on the device."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    # Free pages alone would be next to nothing once files were read: Linux keeps them in memory,
    # the feature cache among them, and gives that memory back when it is asked for.
    if MEMINFO.exists():
        rows = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        return int(rows["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def plan(
    features: FeatureSet,
    folds: int,
    trial: Trial,
    *,
    device: str = "cpu",
    among: int = 1,
    before: int | None = None,
) -> Plan:
    """The bank that fits into the memory that is free now.

    Args:
        features: assembled, and therefore counted twice where they are in memory already.
        folds: of the largest block.
        among: trials that may run on this machine, or share the device, at the same time: all may
            look at the same free memory, before any of them has taken its part.
        before: bytes that were free before any of them began; None: now.

    Raises:
        InputError: not even one fold fits into half of the free memory.
    """
    free = free_bytes(device)
    given = half = int(SHARE_OF_FREE * free)
    if among > 1:
        given = min(half, int(SHARE_OF_TRIALS * (free if before is None else before) / among))
    if features.block is not None:
        return _fine_tuned(features, folds, trial, device=device, given=half)
    per_fold, shared = bank_bytes(
        features.x.shape, model=trial.model, train=trial.train, classes=len(features.classes)
    )
    bank_width(half, folds=1, per_fold=per_fold, shared=shared)  # refuses what cannot run at all
    given = max(given, shared + per_fold)
    wanted = min(folds, most_folds(trial.model.name, per_fold))
    width = min(wanted, bank_width(given, folds=folds, per_fold=per_fold, shared=shared))
    return Plan(width, wanted, folds, shared + width * per_fold, given)


def _size(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.1f} MB"


def _fine_tuned(features: FeatureSet, folds: int, trial: Trial, *, device: str, given: int) -> Plan:
    """One fold at a time, whatever is free; its memory is checked before it is timed."""
    tuning = FineTuning(features, trial, device=device)
    needs = fine_needs.bytes_of(tuning)
    bank_width(given, folds=1, per_fold=needs.fold, shared=needs.shared)
    seconds = fine_needs.seconds_of(tuning)
    return Plan(folds, folds, folds, needs.shared + needs.fold, given, seconds)


def narrower(width: int, device: str) -> int:
    """Half of the folds. Raises MerSearchError when one fold is too many."""
    if width == 1:
        raise MerSearchError(
            f"memory ran out on {device} with one fold; lower train.batch_size or "
            "model.lstm_size, set model.projection, or run fewer trials on one device"
        )
    return (width + 1) // 2


def _folds(count: int) -> str:
    return "1 fold" if count == 1 else f"{count} folds"
