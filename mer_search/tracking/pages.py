"""What a run shows in MLflow besides scores: predictions, settings, a description."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlflow.entities import Metric, Param

from mer_search.experiment import Experiment
from mer_search.loso.estimates import Estimate
from mer_search.loso.ledger import Ledger
from mer_search.loso.nested import read_nested
from mer_search.loso.result import LosoResult, Protocol, Standing

SIZES = (
    "model.name",
    "model.attention",
    "model.lstm_size",
    "model.attention_size",
    "model.score",
    "model.layers",
    "model.bidirectional",
    "features.keyframes.method",
    "features.keyframes.count",
)
"""Settings that every trial's run shows, searched or not; the others only where searched."""


def predictions(result: LosoResult) -> str:
    """CSV: clip, truth, prediction, and the probability of each class."""
    protocol, text = result.protocol, io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["clip", "truth", "prediction", *protocol.classes])
    for key, label, probs in zip(protocol.keys, protocol.label, result.probs, strict=True):
        told = [f"{p:.6f}" for p in probs]
        rows.writerow([key, protocol.classes[label], protocol.classes[probs.argmax()], *told])
    return text.getvalue()


def parameters(file: Mapping[str, Any], protocol: Protocol) -> list[Param]:
    """What all trials of the search share."""
    record = file.get("record", {})
    told = {
        "clips": len(protocol.keys),
        "subjects": len(set(protocol.subject)),
        "classes": ", ".join(protocol.classes),
        "folds": file["evaluation"]["folds"],
        "objective": file["evaluation"]["objective"],
        "sampler": file["search"]["sampler"],
        "seed": file["search"]["seed"],
        "racing": file["search"]["racing"]["rule"],
        "reader": file["data"]["reader"],
        "data_digest": str(record.get("data", ""))[:16],
        "keyframes": ", ".join(f"{k} {v}" for k, v in record.get("keyframes", {}).items()),
    }
    return [Param(key, str(value)) for key, value in told.items()]


def settings(experiment: Experiment, params: Mapping[str, Any]) -> list[Param]:
    """What a trial drew, and its attention and sizes where they are fixed."""
    shown = dict(params)
    if not params and experiment.domains:
        return []  # a damaged record
    whole = experiment.trial(params).model_dump(mode="json")
    for path in SIZES:
        value: Any = whole
        for leaf in path.split("."):
            value = value.get(leaf) if isinstance(value, dict) else None
        if value is not None and path not in experiment.domains:
            shown[path] = value
    if whole["model"].get("attention") == "none":
        for path in ("model.score", "model.attention_size"):
            shown.pop(path, None)
    return [Param(path, str(value)) for path, value in shown.items()]


def weights_tag(file: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, str]:
    """`mer.weights: random` where the face network of these parameters is not a trained one."""
    fixed = file["features"]["backbone"]
    name, weights = (
        params.get(f"features.backbone.{leaf}", fixed[leaf]) for leaf in ("name", "weights")
    )
    return {"mer.weights": "random"} if weights == "random" and name != "patches" else {}


def worth(ledger: Ledger, found: Estimate, at: int) -> list[Metric]:
    """Corrected and nested scores with the ends of the objective's intervals, as metrics."""
    objective = found.objective
    told = {f"corrected.{name}": value for name, value in found.corrected.items()}
    ends = {"corrected": found.interval, "selected": found.selected_interval}
    nested = read_nested(ledger, objective)
    if nested and (score := nested.interval):
        told |= {f"nested.{name}": value for name, value in nested.scores.items()}
        ends["nested"] = score.interval
    for kind, (low, high) in ends.items():
        told |= {f"{kind}.{objective}.low": low, f"{kind}.{objective}.high": high}
    return [Metric(name, value, at, found.finished) for name, value in told.items()]


def view(file: Mapping[str, Any], runs: str) -> str:
    """The table of a search's trials, best first, as MLflow's menu "Views" keeps it (3.17).

    Args:
        runs: MLflow's filter for the runs of the search.
    """
    objective, record = file["evaluation"]["objective"], file.get("record", {})
    settings = [path for path, value in _leaves(file) if _searched(value)]
    settings = list(dict.fromkeys([*SIZES, *settings]))
    columns = ["tags.`mer.state`", *(f"metrics.`{each}`" for each in (objective, "folds_done"))]
    columns += [f"params.`{each}`" for each in settings[:30]]  # a tag holds 5,000 characters
    columns += ["metrics.`seconds`"]
    columns += [f"tags.`mer.{each}`" for each in ("objective", "selected_on", "digest")]
    state = {"selectedColumns": columns, "columnOrder": columns, "orderByAsc": False,
             "orderByKey": f"metrics.`{objective}`",
             "searchFilter": f"{runs} and tags.`mer.kind` = 'trial'"}  # fmt: skip
    made = int(1000 * record.get("created", 0.0))
    return json.dumps({"name": f"{file['name']}: trials, best first", "createdAt": made,
                       "updatedAt": made, "state": json.dumps(state)})  # fmt: skip


def _leaves(file: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted path and value of every setting of a trial in a search-space file."""
    waiting = [(part, file[part]) for part in ("features", "model", "train")]
    while waiting:
        path, value = waiting.pop(0)
        if isinstance(value, Mapping) and not _searched(value):
            waiting = [(f"{path}.{key}", each) for key, each in value.items()] + waiting
        else:
            yield path, value


def _searched(value: Any) -> bool:
    """Whether a value of a search-space file is a domain."""
    return isinstance(value, Mapping) and bool({"choice", "int", "float"} & value.keys())


def note(
    file: Mapping[str, Any],
    protocol: Protocol,
    ended: Sequence[Standing],
    best: Standing | None,
) -> str:
    """The description of the search in Markdown."""
    objective, name = file["evaluation"]["objective"], file["name"]
    finished = sum(result.complete for result in ended)
    lines = [
        f"Search **{name}**: {len(protocol.keys)} clips of {len(set(protocol.subject))} subjects, "
        f"{file['evaluation']['folds']}, {len(protocol.folds)} folds, {len(protocol.classes)} "
        "classes. One child run per trial.",
        f"{len(ended)} trials ended, {finished} with all folds.",
    ]
    if best:
        scores = ", ".join(f"{key} {value:.3f}" for key, value in best.scores.items())
        lines.append(
            f"Best so far by {objective}: trial {best.record.number} ({scores}). "
            "**Selected, optimistic**: this score chose the trial. What it is worth: "
            f"`mer-search compare {name}`."
        )
    lines.append("`so_far.*` are pooled scores after each block of folds; `uf1`, `uar`, `accuracy` "
                 "are there only where all folds are done.")  # fmt: skip
    return "\n\n".join(lines)
