"""Reads a search-space file, checks all of it, and tells every fault in one message.

Not for the records themselves (`mer_search.experiment`), nor for asking Optuna
(`mer_search.study.space`).
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mer_search import search_plan
from mer_search.config import SEARCHED, SECTIONS, USES, Data, Trial, leaves, taken
from mer_search.errors import InputError, did_you_mean
from mer_search.experiment import KINDS, Domain, Experiment, nest

CROSS_CHECK_LIMIT = 4096
"""Combinations of word-valued leaves that are checked against each other."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def read(space: str | Path, settings: Sequence[str] = ()) -> Experiment:
    """The experiment in a file, or in a search space that ships with the package.

    Args:
        space: path of a YAML file, or a shipped name such as "quickstart".
        settings: `key=value` changes, dotted keys, values in YAML.

    Raises:
        InputError: with every fault of the file and of `settings`.
    """
    path = find(space)
    try:
        tree = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(path, f"is not YAML: {error}; mend the file") from error
    if not isinstance(tree, dict):
        raise InputError(path, "holds no settings; a search-space file is a map of sections")
    faults: list[str] = []
    for setting in settings:
        _set(tree, setting, faults)
    return from_dict(tree, where=path, faults=faults)


def shipped() -> dict[str, Path]:
    """Name -> file of the search spaces that come with the package."""
    here = Path(__file__).parent
    folder = next(
        (d for d in (here / "search_spaces", here.parent / "search_spaces") if d.is_dir()), here
    )
    files = sorted(folder.rglob("*.yaml"))
    return {str(file.relative_to(folder).with_suffix("")): file for file in files}


def find(space: str | Path) -> Path:
    """The file that `space` names. Raises InputError when there is none."""
    path, known = Path(space), shipped()
    if path.is_file():
        return path
    if str(space) in known:
        return known[str(space)]
    cure = did_you_mean(str(space), known) if known else "give a path"
    raise InputError(space, f"neither a file nor a shipped search space; {cure}")


def from_dict(
    tree: Mapping[str, Any], *, where: object = "search space", faults: Sequence[str] = ()
) -> Experiment:
    """The experiment in a parsed file. Raises InputError with every fault."""
    found = list(faults)
    known = {"name", *SECTIONS, *SEARCHED}
    found += [f"{key!r} is no section; {did_you_mean(key, known)}" for key in set(tree) - known]
    name = str(tree.get("name", ""))
    if not NAME.fullmatch(name):
        found.append(f"name {name!r} must be letters, digits, '.', '_' or '-', and not empty")
    sections = {key: _section(key, tree.get(key), found) for key in SECTIONS}
    fixed, domains = _leaves(_default_keyframes(tree, sections["data"]), found)
    domains = _ordered(domains, fixed, found)
    _check_values(fixed, domains, found)
    if not found:
        sections["search"] = search_plan.settled(
            sections["search"], sections["evaluation"], fixed, domains=domains, faults=found
        )
    if found:
        raise InputError(where, found)
    experiment = Experiment(name=name, fixed=fixed, domains=domains, **sections)
    contradictions = sorted(set(_contradictions(experiment)))
    if contradictions:
        raise InputError(where, contradictions)
    return experiment


def _set(tree: dict[str, Any], setting: str, faults: list[str]) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        faults.append(f"--set {setting!r} must be key=value, for example train.epochs=20")
        return
    *parents, leaf = key.split(".")
    place = tree
    for parent in parents:
        below = place.setdefault(parent, {})
        if not isinstance(below, dict):
            faults.append(f"--set {key}: {parent!r} holds a value, not settings")
            return
        place = below
    place[leaf] = yaml.safe_load(text)


def _section(name: str, raw: Any, faults: list[str]) -> Any:
    try:
        return SECTIONS[name].model_validate(_expand(raw or {}, faults))
    except ValidationError as error:
        faults.extend(sentences(error, name, tuple(SECTIONS[name].model_fields)))
        return None


def _expand(raw: Any, faults: list[str]) -> Any:
    """`${VAR}` in the strings of one section; a variable that is not set is a fault."""
    if isinstance(raw, dict):
        return {key: _expand(value, faults) for key, value in raw.items()}
    if not isinstance(raw, str):
        return raw
    for variable in re.findall(r"\$\{(\w+)\}", raw):
        if variable not in os.environ:
            faults.append(
                f"{raw!r} needs the environment variable {variable}, which is not set; "
                f"export {variable}=/path or use --set"
            )
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], found[0]), raw)


def sentences(error: ValidationError, prefix: str, known: Sequence[str] = ()) -> Iterator[str]:
    """One sentence per fault that pydantic found, with the nearest right spelling."""
    for fault in error.errors():
        path = ".".join([prefix, *(str(part) for part in fault["loc"] if isinstance(part, str))])
        if fault["type"] == "extra_forbidden":
            hint = did_you_mean(str(fault["loc"][-1]), known)
            yield f"{path} is no setting; {hint}"
        elif fault["type"] == "missing":
            yield f"{path} is missing; add it"
        elif fault["type"] == "literal_error" and isinstance(fault["input"], str):
            words = re.findall(r"'([^']*)'", fault["msg"])
            yield f"{path}: {fault['input']!r} is not known; {did_you_mean(fault['input'], words)}"
        else:
            message = fault["msg"].removeprefix("Value error, ")
            yield f"{path}: {fault['input']!r} is refused: {message}"


def _default_keyframes(tree: Mapping[str, Any], data: Data | None) -> dict[str, Any]:
    """The searched sections; a manifest without `keyframes` uses all rows of a clip."""
    searched = {name: tree.get(name) or {} for name in SEARCHED}
    features = searched["features"]
    if data and data.reader == "manifest" and isinstance(features, dict):
        searched["features"] = {"keyframes": {"method": "all"}, **features}
    return searched


def _leaves(tree: Mapping[str, Any], faults: list[str]) -> tuple[dict[str, Any], dict[str, Domain]]:
    """Splits the searched sections into fixed values and domains, by dotted path."""
    known = leaves()
    fixed = {path: value for path, value in known.items() if value is not None}
    domains: dict[str, Domain] = {}
    for path, raw in _walk(tree, "", known, faults):
        if not isinstance(raw, dict):
            fixed[path] = raw
            continue
        fixed.pop(path, None)
        try:
            domains[path] = Domain.parse(raw)
        except ValidationError as error:
            faults.extend(
                f"{path}: {fault['msg'].removeprefix('Value error, ')}" for fault in error.errors()
            )
        except ValueError as error:
            faults.append(f"{path}: {error}")
    return fixed, domains


def _walk(
    tree: Any, prefix: str, known: Mapping[str, Any], faults: list[str]
) -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, dict):
        faults.append(f"{prefix.rstrip('.')}: {tree!r} must be a map of settings")
        return
    for key, raw in tree.items():
        path = f"{prefix}{key}"
        if path in known:
            yield path, raw
        elif any(leaf.startswith(f"{path}.") for leaf in known):
            yield from _walk(raw, f"{path}.", known, faults)
        else:
            below = {leaf[len(prefix) :].split(".")[0] for leaf in known if leaf.startswith(prefix)}
            what = "a domain on a setting that does not exist" if _is_domain(raw) else "no setting"
            faults.append(f"{path} is {what}; {did_you_mean(str(key), below)}")


def _is_domain(raw: Any) -> bool:
    return isinstance(raw, dict) and any(kind in raw for kind in KINDS)


def _ordered(
    domains: dict[str, Domain], fixed: Mapping[str, Any], faults: list[str]
) -> dict[str, Domain]:
    """Writes `when` with full paths and puts each domain behind those its `when` names."""
    full = {path: _full_when(path, d, domains, fixed, faults) for path, d in domains.items()}
    placed: dict[str, Domain] = {}
    while len(placed) < len(full):
        ready = [
            path
            for path, domain in full.items()
            if path not in placed and all(key in placed or key in fixed for key in domain.when)
        ]
        if not ready:
            faults.append(f"when of {', '.join(sorted(set(full) - set(placed)))} goes in a circle")
            break
        placed |= {path: full[path] for path in ready}
    return placed


def _full_when(
    path: str,
    domain: Domain,
    domains: Mapping[str, Domain],
    fixed: Mapping[str, Any],
    faults: list[str],
) -> Domain:
    when: dict[str, tuple[Any, ...]] = {}
    for key, values in domain.when.items():
        sibling = f"{path.rpartition('.')[0]}.{key}"
        other = key if key in domains or key in fixed else sibling
        if other not in domains and other not in fixed:
            faults.append(f"{path}: when names {key!r}; {did_you_mean(key, [*domains, *fixed])}")
            continue
        if other in domains and domains[other].kind == "choice":
            faults.extend(
                f"{path}: when {key} is {value!r}, which {other} never is; "
                f"{did_you_mean(str(value), map(str, domains[other].values))}"
                for value in values
                if value not in domains[other].values
            )
        when[other] = values
    return domain.model_copy(update={"when": when})


def _check_values(
    fixed: Mapping[str, Any], domains: Mapping[str, Domain], faults: list[str]
) -> None:
    """Every value a leaf may take is one that its setting accepts."""
    candidates = {path: (value,) for path, value in fixed.items()}
    candidates |= {path: domain.probes for path, domain in domains.items()}
    faults.extend(
        f"{path}: features are extracted before the search and need finitely many values; "
        "write choice or int"
        for path, domain in domains.items()
        if path.startswith("features.") and domain.kind == "float"
    )
    for path, values in candidates.items():
        for value in values:
            section, _, rest = path.partition(".")
            try:
                SEARCHED[section].model_validate(nest({rest: value}))
            except ValidationError as error:
                told = list(sentences(error, section))
                faults.extend(sentence for sentence in told if sentence not in faults)


def _without(model: str, params: Mapping[str, Any]) -> list[str]:
    """The settings of `params` that a model does not have."""
    have = {"model.name", *(f"model.{name}" for name in USES[model])}
    return [path for path in params if path.startswith("model.") and path not in have]


def _contradictions(experiment: Experiment) -> Iterator[str]:
    """Contradictions in any combination of word-valued leaves that can be proposed."""
    words = {p: d for p, d in experiment.domains.items() if p.split(".")[0] != "train"
             and d.kind == "choice" and isinstance(d.values[0], str)}  # fmt: skip
    combinations = itertools.product(*(domain.values for domain in words.values()))
    for values in itertools.islice(combinations, CROSS_CHECK_LIMIT):
        chosen = dict(zip(words, values, strict=True))
        params: dict[str, Any] = {}
        for path, domain in experiment.active(params):
            params[path] = chosen.get(path, domain.probes[0])
        model = params.get("model.name", experiment.fixed.get("model.name"))
        for path in _without(str(model), params):
            del params[path]
            yield (
                f"{path} is a domain on a setting that {model} does not have; {taken(str(model))}, "
                "or write when: {name: [...]} with models that have it"
            )
        yield from Trial.contradictions(experiment.trial(params))
