"""The methods paragraph of a search: everything that a reviewer asks for. Plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mer_search.report import words
from mer_search.report.account import Search


def methods(search: Search) -> str:
    """Data, protocol, space, trials, selection, estimate, seeds, weights and versions."""
    return " ".join([*_data(search), *_searched(search), *_scored(search), *_software(search)])


def _data(search: Search) -> Iterator[str]:
    protocol, record = search.protocol, search.record
    counts = {name: int((protocol.label == c).sum()) for c, name in enumerate(protocol.classes)}
    classes = ", ".join(f"{name} {count}" for name, count in counts.items())
    yield (
        f"Data: {' and '.join(search.datasets)} (reader {search.file['data']['reader']}, "
        f"annotation {record.get('annotation', 'unknown')}, content digest {search.data[:16]}), "
        f"{len(protocol.keys)} clips of {len(set(protocol.subject))} subjects in "
        f"{len(protocol.classes)} classes ({classes})."
    )
    if left := record.get("skipped"):
        yield f"{len(left)} clips could not be used and were left out."
    if record.get("boundaries") == "annotated":
        yield "Clips were cut at annotated onset and offset."
    yield (
        f"Protocol: {_folds(search.file['evaluation']['folds'])} ({search.folds} folds), a fixed "
        "number of epochs, no held-out clip used in training; counts pooled over all folds, then "
        "scored."
    )


def _folds(kind: str) -> str:
    return "leave one subject out" if kind == "loso" else f"leave groups of subjects out ({kind})"


def _searched(search: Search) -> Iterator[str]:
    file = search.file
    flat = dict(leaves({key: file[key] for key in ("features", "model", "train")}))
    domains = {path: each for path, each in flat.items() if isinstance(each, Mapping)}
    fixed = {path: each for path, each in flat.items() if path not in domains}
    space = "; ".join(f"{path} {_domain(each)}" for path, each in domains.items())
    yield f"Searched: {space or 'nothing'}."
    yield f"Fixed: {', '.join(f'{path} {each}' for path, each in fixed.items())}."
    found = ((search.states[state], told) for state, told in words.STATES.items())
    states = ", ".join(f"{count} {told}" for count, told in found if count)
    race = file["search"]["racing"]
    rule = f"racing rule {race['rule']}" if race["rule"] != "none" else "no racing"
    if chances := race.get("second_chances"):
        rule += f", the {chances} most promising stopped trials trained to their end"
    yield f"{len(search.results)} trials ({states}) by {file['search']['sampler']}, {rule}."


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of every setting; a domain is one value."""
    for key, each in tree.items():
        domain = isinstance(each, Mapping) and {"choice", "int", "float"} & set(each)
        if isinstance(each, Mapping) and not domain:
            yield from leaves(each, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", each


def _domain(raw: Mapping[str, Any]) -> str:
    when = " and ".join(f"{path} in {{{', '.join(map(str, values))}}}"
                        for path, values in (raw.get("when") or {}).items())  # fmt: skip
    if "choice" in raw:
        told = f"{{{', '.join(map(str, raw['choice']))}}}"
    else:
        low, high = raw["int"] if "int" in raw else raw["float"]
        told = f"[{low:g}, {high:g}]" + (", logarithmic" if raw.get("log") else "")
        told += f" in steps of {raw['step']}" if raw.get("step") else ""
    return f"{told} (where {when})" if when else told


def _scored(search: Search) -> Iterator[str]:
    estimate, key = search.estimate, search.objective
    if estimate is None:
        return
    name = words.NAMES[key]
    yield (
        f"Selection: the finished trial of highest {name}, {words.number(estimate.selected[key])} "
        f"{words.interval(estimate.selected_interval)} (selected, optimistic). Corrected: "
        f"{words.number(estimate.corrected[key])} {words.interval(estimate.interval)} "
        f"({estimate.method}). It {estimate.caveats[0]}."
    )
    yield from words.nested(search)


def _software(search: Search) -> Iterator[str]:
    file, record = search.file, search.record
    yield f"Seeds: search {file['search']['seed']}, training {file['train']['seed']}."
    if weights := record.get("weights"):
        told = ", ".join(f"{name} (SHA-256 {digest})" for name, digest in weights.items())
        yield f"Face networks: {told}."
    if versions := record.get("versions"):
        yield f"Software: {', '.join(f'{name} {each}' for name, each in versions.items())}."
