"""The evaluation protocol as data: which clip each fold holds out, in which order. Not training.

Letters: N clips, F folds, C classes. A subject is always a pair (dataset, subject name).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mer_search.errors import DamagedRecord, InputError

FORMAT = 1
JITTER = 0.1
"""Spread of the log-normal factor on subject sizes: near-equal subjects change places by seed."""
CANDIDATES = 4
"""Largest folds left among which the next is chosen; more would balance the classes better and
cover fewer clips early."""

Subject = tuple[str, str]


@dataclass(frozen=True)
class Folds:
    """One protocol over N clips.

    Attributes:
        held_out: bool [F, N], read-only; True where the fold's model must not see the clip.
        subjects: the subjects of each fold, in racing order [F]; one each under LOSO.
        blocks: (start, stop) over folds; a trial reports after each of them.
    """

    held_out: NDArray[np.bool_]
    subjects: tuple[tuple[Subject, ...], ...]
    blocks: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        self.held_out.setflags(write=False)

    def __len__(self) -> int:
        return len(self.held_out)

    def to_json(self) -> dict[str, Any]:
        """Subjects and block boundaries; `from_json` needs the clips' subjects again."""
        return {
            "format": FORMAT,
            "subjects": [[list(subject) for subject in fold] for fold in self.subjects],
            "blocks": [list(block) for block in self.blocks],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], subject: Sequence[Subject]) -> Folds:
        """The folds of `record` over clips with these subjects [N].

        Raises:
            DamagedRecord: unknown format, or blocks that do not cover the folds in order.
            InputError: the record's subjects are not the clips' subjects.
        """
        if record.get("format") != FORMAT:
            raise DamagedRecord(f"folds: format {record.get('format')!r} is not {FORMAT}")
        try:
            folds = tuple(tuple((d, s) for d, s in fold) for fold in record["subjects"])
            blocks = tuple((int(start), int(stop)) for start, stop in record["blocks"])
        except (KeyError, TypeError, ValueError) as fault:
            raise DamagedRecord(f"folds: subjects or blocks are unreadable ({fault!r})") from fault
        covered = [fold for block in blocks for fold in range(*block)]
        if covered != list(range(len(folds))) or any(start >= stop for start, stop in blocks):
            raise DamagedRecord(f"folds: blocks {blocks} do not cover {len(folds)} folds in order")
        known = {each for fold in folds for each in fold}
        if known and known != set(subject):
            odd = sorted(known ^ set(subject))
            names = ", ".join("/".join(each) for each in odd[:5])
            raise InputError(
                "folds",
                f"the stored folds and the clips differ in {len(odd)} subjects ({names}); "
                "use the data of the first launch, or another search name",
            )
        return cls(_mask(folds, subject), folds, blocks)


def make_folds(
    subject: Sequence[Subject],
    label: NDArray[np.integer[Any]],
    *,
    protocol: str = "loso",
    blocks: Literal["auto"] | Sequence[int] = "auto",
    seed: int = 0,
) -> Folds:
    """Folds that leave out one subject (`loso`), some (`group-5`), or a data set (`lodo`).

    The order depends on the data and `seed` only, not on the order of the clips: large subjects
    first, classes balanced in every prefix, so that early blocks say most about the final score.

    Args:
        subject: (dataset, subject) of each clip [N].
        label: class index of each clip [N].
        blocks: folds per block, or `auto`: doubling sizes, the last block takes the rest.

    Raises:
        InputError: fewer than two subjects (under lodo: data sets), an unknown protocol, more
            groups than subjects, lengths that differ, or block sizes that do not sum to F.
    """
    if len(subject) != len(label):
        raise InputError("folds", f"{len(subject)} subjects but {len(label)} labels; give one each")
    names = sorted(set(subject))
    if len(names) < 2:
        raise InputError(
            "folds", f"{len(names)} subject, but {protocol} needs 2 or more; add clips of others"
        )
    rng = np.random.default_rng(seed)
    index = {name: row for row, name in enumerate(names)}
    counts = np.zeros((len(names), int(np.max(label)) + 1))
    np.add.at(counts, (np.array([index[each] for each in subject]), np.asarray(label)), 1.0)
    counts *= np.exp(JITTER * rng.standard_normal((len(names), 1)))
    if protocol == "lodo":
        groups = _datasets(names)
    else:
        groups = _groups(counts, _group_count(protocol, len(names)))
    order = _racing_order(np.stack([counts[group].sum(0) for group in groups]))
    folds = tuple(tuple(names[row] for row in groups[fold]) for fold in order)
    sizes = auto_blocks(len(folds)) if blocks == "auto" else blocks
    return Folds(_mask(folds, subject), folds, _boundaries(sizes, len(folds)))


def everything(n: int) -> Folds:
    """One fold that holds nothing out, for the refit of `export`. F = 1."""
    return Folds(np.zeros((1, n), bool), ((),), ((0, 1),))


def auto_blocks(folds: int) -> tuple[int, ...]:
    """Block sizes a, a, 2a, 4a, ... with a = F/4 between 1 and 4; 68 folds give 3-5-8-16-36.

    A block that would leave fewer folds than itself takes them too. 4-4 is 3-5: what is hopeless
    shows after three folds (docs/racing.md).
    """
    sizes = [max(1, min(4, folds // 4))]
    while (rest := folds - sum(sizes)) > 0:
        step = sum(sizes)
        sizes.append(step if rest >= 2 * step else rest)
    return (3, 5, *sizes[2:]) if sizes[:2] == [4, 4] else tuple(sizes)


def _boundaries(sizes: Sequence[int], folds: int) -> tuple[tuple[int, int], ...]:
    """(start, stop) of each block."""
    if sum(sizes) != folds or any(size < 1 for size in sizes):
        raise InputError(
            "search.racing.blocks",
            f"blocks {list(sizes)} must be 1 or more each and sum to {folds} folds, not to "
            f"{sum(sizes)}; write auto, or sizes such as {list(auto_blocks(folds))}",
        )
    stops = np.cumsum(sizes).tolist()
    return tuple(zip([0, *stops[:-1]], stops, strict=True))


def _group_count(protocol: str, subjects: int) -> int:
    """Number of folds that `protocol` asks for."""
    if protocol == "loso":
        return subjects
    found = re.fullmatch(r"group-([2-9]|[1-9]\d+)", protocol)
    if found is None:
        raise InputError(
            "evaluation.folds", f"{protocol!r} must be loso, lodo or group-K with K >= 2"
        )
    if int(found[1]) > subjects:
        raise InputError(
            "evaluation.folds",
            f"{protocol} needs {found[1]} subjects and there are {subjects}; use loso",
        )
    return int(found[1])


def _datasets(names: Sequence[Subject]) -> list[list[int]]:
    """Subjects (rows) by data set."""
    rows: dict[str, list[int]] = {}
    for row, (dataset, _) in enumerate(names):
        rows.setdefault(dataset, []).append(row)
    if len(rows) < 2:
        raise InputError(
            "evaluation.folds",
            f"lodo leaves one data set out and all clips are of {next(iter(rows))}; use loso, or "
            "a reader of several data sets such as megc2019",
        )
    return list(rows.values())


def _groups(counts: NDArray[np.float64], groups: int) -> list[list[int]]:
    """Subjects (rows of counts [S, C]) dealt to groups alike in classes, large subjects first."""
    if groups == len(counts):
        return [[row] for row in range(groups)]
    share = counts / np.maximum(counts.sum(0), 1e-9)
    held = np.zeros((groups, counts.shape[1]))
    members: list[list[int]] = [[] for _ in range(groups)]
    for done, row in enumerate(np.argsort(-counts.sum(1), kind="stable")):
        empty = [group for group in range(groups) if not members[group]]
        # No group may stay empty: the last subjects go to groups that have none.
        open_groups = empty if len(empty) >= len(counts) - done else list(range(groups))
        crowding = ((held[open_groups] + share[row]) ** 2 - held[open_groups] ** 2).sum(1)
        group = open_groups[int(np.argmin(crowding))]
        members[group].append(int(row))
        held[group] += share[row]
    return [sorted(group) for group in members]


def _racing_order(counts: NDArray[np.float64]) -> list[int]:
    """Order of folds by jittered class counts [F, C].

    Each step looks at the `CANDIDATES` largest folds left and takes the one after which the
    covered shares of the classes are most alike (least standard deviation over mean).
    """
    counts = counts[:, counts.sum(0) > 0]
    share = counts / counts.sum(0)
    covered = np.zeros(counts.shape[1])
    left, order = np.argsort(-counts.sum(1), kind="stable").tolist(), []
    while left:
        after = covered + share[left[:CANDIDATES]]
        best = int(np.argmin(after.std(1) / after.mean(1)))
        covered = after[best]
        order.append(left.pop(best))
    return order


def _mask(folds: Sequence[Sequence[Subject]], subject: Sequence[Subject]) -> NDArray[np.bool_]:
    """held_out [F, N] from the subjects of each fold."""
    where = {name: fold for fold, names in enumerate(folds) for name in names}
    mask = np.zeros((len(folds), len(subject)), bool)
    if where:
        mask[[where[each] for each in subject], np.arange(len(subject))] = True
    return mask
