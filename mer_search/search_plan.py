"""Settings of a search that only make sense beside its domains: checked, and made definite.

Not for proposing trials (`mer_search.study`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from mer_search.config import Evaluation, Search
from mer_search.errors import did_you_mean
from mer_search.experiment import Domain

LARGEST_GRID = 100_000
"""Points that `sampler: grid` lists; a larger grid is sampled better than walked."""


def settled(
    search: Search,
    evaluation: Evaluation,
    fixed: Mapping[str, Any],
    *,
    domains: Mapping[str, Domain],
    faults: list[str],
) -> Search:
    """The search with `search.first` as dotted paths; adds to `faults`."""
    if evaluation.beside:
        faults.extend(_several(search, search.racing.rule))
    if search.sampler == "gp" and search.constraints:
        faults.append(
            "search.constraints: search.sampler 'gp' cannot learn from a trial that breaks one and "
            "would propose it again; choose tpe, random or grid"
        )
    if search.sampler == "grid":
        faults.extend(_grid(domains))
    if search.racing.second_chances and search.racing.rule == "none":
        faults.append(
            f"search.racing.second_chances {search.racing.second_chances}: they are for trials "
            "that a race has stopped and search.racing.rule is none; choose a rule, or no race at "
            "all: racing: {rule: none}"
        )
    first = []
    for place, raw in enumerate(search.first):
        chosen = dict(_flat(raw))
        faults.extend(f"search.first[{place}]: {told}" for told in _hand(chosen, fixed, domains))
        first.append({path: value for path, value in chosen.items() if path in domains})
    return search.model_copy(update={"first": tuple(first)})


def _several(search: Search, rule: str) -> Iterator[str]:
    """Several objectives: what cannot be done with them."""
    if rule != "none":
        yield (
            f"search.racing.rule {rule!r} races for one objective and evaluation.objective names "
            "several; set it to none, or name one objective"
        )
    if search.sampler == "gp":
        yield "search.sampler 'gp' takes one objective here; choose tpe, random or grid"


def _grid(domains: Mapping[str, Domain]) -> Iterator[str]:
    """What has no finite list of points."""
    endless = [path for path, domain in domains.items() if domain.kind == "float"]
    for path in endless:
        yield f"{path}: search.sampler grid needs finitely many values; write choice or int"
    points = prod(len(domain.every) for path, domain in domains.items() if path not in endless)
    if not endless and points > LARGEST_GRID:
        yield (
            f"search.sampler grid has up to {points} points, the most is {LARGEST_GRID}; "
            "drop values or choose random"
        )


def _flat(raw: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"model": {"lstm_size": 64}}` and `{"model.lstm_size": 64}` alike."""
    for key, value in raw.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _hand(
    chosen: Mapping[str, Any], fixed: Mapping[str, Any], domains: Mapping[str, Domain]
) -> Iterator[str]:
    """Why a trial given by hand is no point of the space."""
    for path, value in chosen.items():
        if path in domains:
            if not domains[path].holds(value):
                yield f"{path} {value!r} is not among {domains[path].as_file()}; choose one of them"
        elif path not in fixed:
            yield f"{path} is no setting; {did_you_mean(path, {*fixed, *domains})}"
        elif fixed[path] != value:
            yield f"{path} is {fixed[path]!r} in this file, not {value!r}; search it or drop it"
