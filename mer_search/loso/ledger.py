"""The search's store: what was asked, what was proposed, what every finished block predicted.

The ledger is the search: relaunching, comparing, MLflow and Optuna are all read from it. Records
are complete or absent; a damaged one is named and never deleted. Not for deciding anything.

    STORE/NAME/search.yaml, folds.json, trials/000017/trial.json, trials/000017/block-02.npz
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import fsspec
import yaml
from fsspec.implementations.local import LocalFileSystem

from mer_search.errors import DamagedRecord
from mer_search.loso.fold_block import FORMAT as FORMAT
from mer_search.loso.fold_block import FoldBlock as FoldBlock
from mer_search.loso.fold_block import packed, unpacked, whole

BLOCK = r"block-(\d+)\.npz$"
AT_ONCE = 16
"""Objects of a far store that are read at the same time."""
Item = TypeVar("Item")
Found = TypeVar("Found")
State = Literal["RUNNING", "COMPLETE", "STOPPED", "FAILED"]
STATES: tuple[State, ...] = ("RUNNING", "COMPLETE", "STOPPED", "FAILED")


@dataclass(frozen=True)
class TrialRecord:
    """One proposal and what became of it.

    Attributes:
        params: dotted path -> value of the searched leaves that are active.
        distributions: dotted path -> the domain it was drawn from.
        values: objective of the pooled predictions after each finished block.
        sampler: attributes that the sampler wants back.
        measured: what further objectives and constraints want, as `parameters`.
        reason: why the trial stopped or failed.
        started: seconds since the epoch.
        notes: what a reader of the numbers should know, as a GPU that could not be used.
        memory: what `loso.memory.plan` found before training: width, wanted, folds, needs, given.
    """

    number: int
    state: State
    params: dict[str, Any]
    distributions: dict[str, Any]
    values: tuple[float, ...] = ()
    sampler: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    started: float = 0.0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    memory: dict[str, float] = field(default_factory=dict)

    def ended(
        self,
        state: State,
        *,
        values: tuple[float, ...],
        reason: str = "",
        seconds: float | None = None,
    ) -> TrialRecord:
        """The same trial with its outcome; `seconds` None counts from its start."""
        seconds = time.time() - self.started if seconds is None else seconds
        return replace(self, state=state, values=values, reason=reason, seconds=seconds)


class Ledger:
    """The records of one search under a store, which is any address that fsspec reaches."""

    def __init__(self, store: str, name: str) -> None:
        self.store, self.name = str(store), name
        self._fs, root = fsspec.core.url_to_fs(self.store)
        self.root = f"{root.rstrip('/')}/{name}"
        if isinstance(self._fs, LocalFileSystem):
            self.store = str(root)  # absolute: workers have other working directories

    def exists(self) -> bool:
        """Whether the search was ever launched."""
        return bool(self._fs.exists(f"{self.root}/search.yaml"))

    def create(self, search: Mapping[str, Any], folds: Mapping[str, Any]) -> None:
        """Freezes the search; `search.yaml` last, since it is what makes the search exist."""
        self._put("folds.json", json.dumps({"format": FORMAT, **folds}).encode())
        text = yaml.safe_dump({"format": FORMAT, **search}, sort_keys=False)
        self._put("search.yaml", text.encode())

    def search(self) -> dict[str, Any]:
        """The content of search.yaml."""
        return self._checked("search.yaml", yaml.safe_load)

    def folds(self) -> dict[str, Any]:
        """The content of folds.json."""
        return self._checked("folds.json", json.loads)

    @property
    def local(self) -> Path | None:
        """The search's folder where the store is on this machine's filesystems."""
        return Path(self.root) if isinstance(self._fs, LocalFileSystem) else None

    def ask_to_stop(self) -> None:
        """Leaves the wish that a running search ends after its blocks."""
        self._put("stop.json", json.dumps({"format": FORMAT, "asked": time.time()}).encode())

    def stop_asked(self) -> bool:
        """Whether someone asked since the last launch."""
        self._fs.invalidate_cache()
        return bool(self._fs.exists(f"{self.root}/stop.json"))

    def forget_stop(self) -> None:
        """A new launch goes on whatever was asked before."""
        if self.stop_asked():
            self._fs.rm_file(f"{self.root}/stop.json")

    def write_warm(self, name: str, trials: Sequence[TrialRecord]) -> None:
        """Keeps what an earlier search gives to this one, before this one exists."""
        record = {"format": FORMAT, "from": name, "trials": [asdict(trial) for trial in trials]}
        self._put("warm.json", json.dumps(record).encode())

    def warm(self) -> tuple[str, tuple[TrialRecord, ...]]:
        """The earlier search's name and its trials; "" and () where there is none."""
        if not self._fs.exists(f"{self.root}/warm.json"):
            return "", ()
        record = self._checked("warm.json", json.loads)
        return str(record["from"]), tuple(map(_trial_of, record["trials"]))

    def write_trial(self, trial: TrialRecord) -> None:
        """Puts or replaces trial.json."""
        record = {"format": FORMAT, **asdict(trial)}
        self._put(f"trials/{trial.number:06d}/trial.json", json.dumps(record, indent=1).encode())

    def trial(self, number: int) -> TrialRecord:
        """One trial. Raises DamagedRecord."""
        name = f"trials/{number:06d}/trial.json"
        record = self._checked(name, json.loads)
        try:
            trial = _trial_of(record)
        except (KeyError, TypeError, ValueError) as fault:
            raise DamagedRecord(f"{self.root}/{name}: a field is missing ({fault!r})") from fault
        if trial.state not in STATES or trial.number != number:
            raise DamagedRecord(f"{self.root}/{name}: state {trial.state!r} of {trial.number}")
        if trial.state == "COMPLETE" and not trial.values:
            raise DamagedRecord(f"{self.root}/{name}: COMPLETE, but `values` is empty")
        return trial

    def trials(self) -> list[TrialRecord]:
        """All trials by number; a damaged record keeps its number as FAILED, with the reason."""
        found = self.each(self._trial_or_reason, self._numbers("trials", r"(\d{6,})$"))
        return [record for record in found if record is not None]

    def _trial_or_reason(self, number: int) -> TrialRecord | None:
        try:
            return self.trial(number)
        except DamagedRecord as fault:
            return TrialRecord(number, "FAILED", {}, {}, reason=str(fault))
        except FileNotFoundError:
            # A writer that was killed before its first record leaves a folder of no trial.
            if not self._numbers(f"trials/{number:06d}", BLOCK):
                return None
            reason = f"{self.root}/trials/{number:06d}/trial.json is missing"
            return TrialRecord(number, "FAILED", {}, {}, reason=reason)

    def each(self, read: Callable[[Item], Found], of: Iterable[Item]) -> list[Found]:
        """`read` of every item, in order; several at a time where every answer is waited for."""
        if isinstance(self._fs, LocalFileSystem):
            return [read(item) for item in of]
        with ThreadPoolExecutor(AT_ONCE) as readers:
            return list(readers.map(read, of))

    def write_block(self, number: int, index: int, block: FoldBlock) -> None:
        """Puts one finished block of trial `number`."""
        self._put(f"trials/{number:06d}/block-{index:02d}.npz", packed(block))

    def block(self, number: int, index: int) -> FoldBlock:
        """One finished block. Raises DamagedRecord, or FileNotFoundError where there is none."""
        return self._unpacked(f"trials/{number:06d}/block-{index:02d}.npz")

    def _unpacked(self, name: str) -> FoldBlock:
        content = self._fs.cat_file(f"{self.root}/{name}")
        try:
            return unpacked(content)
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile,
                NotImplementedError, zlib.error, RuntimeError) as fault:  # fmt: skip
            raise DamagedRecord(f"{self.root}/{name}: unreadable ({fault})") from fault

    def blocks(self, number: int) -> tuple[dict[int, FoldBlock], list[str]]:
        """Readable blocks of a trial by index, and a sentence for each damaged one."""
        found: dict[int, FoldBlock] = {}
        damaged: list[str] = []
        for index in self._numbers(f"trials/{number:06d}", BLOCK):
            try:
                found[index] = self.block(number, index)
            except DamagedRecord as fault:
                damaged.append(str(fault))
        return found, damaged

    def inner(self, group: int) -> Ledger:
        """The inner search beside outer group `group` of a nested evaluation."""
        return Ledger(f"{self.store.rstrip('/')}/{self.name}/outer", f"{group:02d}")

    def create_outer(self, record: Mapping[str, Any]) -> None:
        """Freezes the outer groups of a nested evaluation."""
        self._put("outer/folds.json", json.dumps({"format": FORMAT, **record}).encode())

    def outer(self) -> dict[str, Any] | None:
        """The outer groups, None where nested evaluation never began. Raises DamagedRecord."""
        self._fs.invalidate_cache()
        there = self._fs.exists(f"{self.root}/outer/folds.json")
        return self._checked("outer/folds.json", json.loads) if there else None

    def write_held_out(self, number: int, block: FoldBlock) -> None:
        """Puts what trial `number`, an inner search's winner, predicts for its outer group."""
        self._put(f"held-out-{number:06d}.npz", packed(block))

    def held_out(self, number: int) -> FoldBlock | None:
        """What `write_held_out` put; None where there is none or it cannot be read."""
        try:
            return self._unpacked(f"held-out-{number:06d}.npz")
        except (FileNotFoundError, DamagedRecord):
            return None

    def sound(self, number: int) -> set[int]:
        """Indices of the blocks of a trial whose checksums hold, without reading what they hold."""
        folder = f"trials/{number:06d}"
        return {
            index
            for index in self._numbers(folder, BLOCK)
            if whole(self._fs.cat_file(f"{self.root}/{folder}/block-{index:02d}.npz"))
        }

    def _numbers(self, folder: str, pattern: str) -> list[int]:
        place = f"{self.root}/{folder}"
        self._fs.invalidate_cache()
        names = self._fs.ls(place, detail=False) if self._fs.exists(place) else []
        found = (re.search(pattern, str(name).rstrip("/")) for name in names)
        return sorted(int(match[1]) for match in found if match)

    def _checked(self, name: str, parse: Any) -> dict[str, Any]:
        content = self._fs.cat_file(f"{self.root}/{name}")
        try:
            record = parse(content.decode())
        except (ValueError, yaml.YAMLError) as fault:
            raise DamagedRecord(f"{self.root}/{name}: unreadable ({fault})") from fault
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            stored = record.get("format") if isinstance(record, dict) else None
            raise DamagedRecord(f"{self.root}/{name}: format {stored!r} is not {FORMAT}")
        return record

    def _put(self, name: str, content: bytes) -> None:
        """Complete or absent: local files are renamed into place, objects put in one piece."""
        path = f"{self.root}/{name}"
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        if not isinstance(self._fs, LocalFileSystem):
            self._fs.pipe_file(path, content)
            return
        partial = f"{path}.{os.getpid()}.partial"
        try:
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError:  # on a full disk the rest of it would keep the space
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise


def _trial_of(record: Mapping[str, Any]) -> TrialRecord:
    """A record as JSON holds it; some fields are absent in older ones."""
    whole = {"measured": {}, "notes": (), "memory": {}, **record}
    known = {each.name: whole[each.name] for each in fields(TrialRecord)}
    values, notes = tuple(map(float, known["values"])), tuple(known["notes"])
    return TrialRecord(**{**known, "values": values, "notes": notes})


def searches(store: str) -> list[str]:
    """Names of the searches in a store, sorted."""
    fs, root = fsspec.core.url_to_fs(str(store))
    if not fs.exists(root):
        return []
    names = (str(path).rstrip("/").rpartition("/")[2] for path in fs.ls(root, detail=False))
    return sorted(name for name in names if fs.exists(f"{root}/{name}/search.yaml"))
