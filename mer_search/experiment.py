"""A search-space file: one complete experiment, read and checked before anything runs.

Any leaf under `features`, `model` and `train` is a value or a domain:
`{choice: [...]}`, `{int: [lo, hi], step: s}`, `{float: [lo, hi], log: true}`, each with an
optional `when: {attention: [spatial, ...]}`. All faults of a file are told in one message.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast

from pydantic import Field, model_validator

from mer_search.config import (
    SECTIONS,
    Data,
    Evaluation,
    Features,
    Resources,
    Search,
    Settings,
    Trial,
    digest_of,
    later_leaves,
)

KINDS = ("choice", "int", "float")


class Domain(Settings):
    """The values one leaf may take, and when it matters at all."""

    kind: Literal["choice", "int", "float"]
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    step: int = 1
    log: bool = False
    when: dict[str, tuple[Any, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _possible(self) -> Domain:
        if self.kind == "choice" and not self.values:
            raise ValueError("choice needs at least one value")
        if self.kind == "choice" and len(set(map(repr, self.values))) < len(self.values):
            raise ValueError(f"choice {list(self.values)} names a value twice")
        if self.kind != "choice" and not self.low < self.high:
            raise ValueError(f"the range [{self.low:g}, {self.high:g}] is empty; write [low, high]")
        if self.kind == "int" and self.step < 1:
            raise ValueError(f"step {self.step} must be 1 or more")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a lower end above 0, not {self.low:g}")
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other; drop one")
        return self

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Domain:
        """From the file's form. Raises ValueError on anything else."""
        kinds = [kind for kind in KINDS if kind in raw]
        unknown = set(raw) - {*KINDS, "when", "step", "log"}
        if len(kinds) != 1 or unknown:
            raise ValueError(f"{dict(raw)} is no domain; write choice, int or float, and when")
        kind = cast(Literal["choice", "int", "float"], kinds[0])
        when = {key: as_list(value) for key, value in (raw.get("when") or {}).items()}
        if kind == "choice":
            return cls(kind=kind, values=tuple(raw[kind]), when=when)
        if not isinstance(raw[kind], Sequence) or len(raw[kind]) != 2:
            raise ValueError(f"{kind} {raw[kind]!r} must be [low, high]")
        low, high = raw[kind]
        return cls(kind=kind, low=low, high=high, when=when, step=raw.get("step", 1),
                   log=raw.get("log", False))  # fmt: skip

    def as_file(self) -> dict[str, Any]:
        """The form `parse` reads."""
        number = int if self.kind == "int" else float
        ends = [number(self.low), number(self.high)]
        out: dict[str, Any] = {self.kind: list(self.values) if self.kind == "choice" else ends}
        if self.step != 1:
            out["step"] = self.step
        if self.log:
            out["log"] = True
        if self.when:
            out["when"] = {key: list(values) for key, values in self.when.items()}
        return out

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that stand for all: every choice, or both ends of a range."""
        if self.kind == "choice":
            return self.values
        return (int(self.low), int(self.high)) if self.kind == "int" else (self.low, self.high)

    @property
    def every(self) -> tuple[Any, ...]:
        """All values. Raises ValueError for a float range, which has no end of them."""
        if self.kind == "float":
            raise ValueError("a float range has no finite list of values")
        if self.kind == "choice":
            return self.values
        return tuple(range(int(self.low), int(self.high) + 1, self.step))

    def holds(self, value: Any) -> bool:
        """Whether the leaf may take this value."""
        if self.kind == "choice":
            return any(type(value) is type(each) and value == each for each in self.values)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high:
            return False
        return self.kind == "float" or (value - self.low) % self.step == 0

    def active(self, chosen: Mapping[str, Any]) -> bool:
        """Whether this leaf matters, given the values of the leaves `when` names."""
        return all(chosen.get(path) in values for path, values in self.when.items())


def as_list(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


@dataclass(frozen=True)
class Experiment:
    """A checked search-space file.

    Attributes:
        fixed: dotted path -> value of every leaf that is not searched.
        domains: dotted path -> Domain, ordered so that a `when` looks back only.
    """

    name: str
    data: Data
    fixed: dict[str, Any]
    domains: dict[str, Domain]
    evaluation: Evaluation = field(default_factory=Evaluation)
    search: Search = field(default_factory=Search)
    resources: Resources = field(default_factory=Resources)

    def trial(self, params: Mapping[str, Any]) -> Trial:
        """The settings of the trial that chose `params` (dotted path -> value)."""
        return Trial.model_validate(nest({**self.fixed, **params}))

    def active(self, params: Mapping[str, Any]) -> Iterator[tuple[str, Domain]]:
        """Domains that matter given `params`, which the caller may fill while iterating."""
        for path, domain in self.domains.items():
            if domain.active({**self.fixed, **params}):
                yield path, domain

    def feature_settings(self) -> list[Features]:
        """Every feature setting that a trial can ask for, so that all can be extracted first."""
        found: list[dict[str, Any]] = [{}]
        for path, domain in self.domains.items():
            if not path.startswith("features."):
                continue
            wider: list[dict[str, Any]] = []
            for chosen in found:
                known = {**self.fixed, **chosen}
                open_ends = any(key not in known for key in domain.when)  # decided by the model
                if active := domain.active(known) or open_ends:
                    wider += [{**chosen, path: value} for value in domain.every]
                if not active or open_ends:
                    wider.append(chosen)
            found = wider
        return list(dict.fromkeys(self.trial(chosen).features for chosen in found))

    @property
    def most_parameters(self) -> float:
        """What `search.constraints` allow a model to have; infinite without one."""
        ends = [float(each.partition("<=")[2]) for each in self.search.constraints]
        return min(ends, default=math.inf)

    def as_file(self) -> dict[str, Any]:
        """The whole file, every default spelled out; `from_dict` reads it back equal."""
        flat = {**self.fixed, **{path: d.as_file() for path, d in self.domains.items()}}
        sections = {name: getattr(self, name).model_dump(mode="json") for name in SECTIONS}
        return {"name": self.name, **sections, **nest(flat)}

    def identity(self, data_digest: str) -> dict[str, Any]:
        """What makes this the same search; anything else may change between launches."""
        file = self.as_file()
        named = ("sampler", "seed", "racing", "first", "constraints")
        search = {key: file["search"][key] for key in named}
        # Like more trials, second chances may be asked for when the search is done.
        search["racing"] = {k: v for k, v in search["racing"].items() if k != "second_chances"}
        flat = {**self.fixed, **{path: d.as_file() for path, d in self.domains.items()}}
        late = later_leaves()
        kept = nest({p: v for p, v in flat.items() if p not in late or v != late[p]})
        # Outer groups are searches beside this one: they may be asked for when it is done.
        kept["evaluation"] = {k: v for k, v in file["evaluation"].items() if k != "outer"}
        return {**kept, "search": search, "data": {"reader": self.data.reader,
                "classes": self.data.classes, "digest": data_digest}}  # fmt: skip

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the file without root, limits, resources and name."""
        return digest_of(self.identity(""))


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` -> `{"a": {"b": 1}}`."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return tree
