"""The account of a search as a JSON document that users script against. Fields may be added.

Not for computing anything: see `account`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mer_search.loso.estimates import Estimate
from mer_search.loso.ledger import TrialRecord
from mer_search.loso.metrics import OBJECTIVES, confusion
from mer_search.loso.result import LosoResult
from mer_search.report.account import Search
from mer_search.report.cost import nested_cost
from mer_search.report.pareto import front

LABEL = "selected: this score chose the trial, so it is optimistic"


def document(account: Search) -> dict[str, Any]:
    """One search, as `compare NAME --json` prints it: strict JSON, None where there is nothing."""
    protocol, file = account.protocol, account.file
    counts = np.bincount(protocol.label, minlength=len(protocol.classes)).tolist()
    name, scores = account.majority
    return {
        "search": account.name,
        "objective": account.objective,
        "clips": len(protocol.keys),
        "subjects": len(set(protocol.subject)),
        "classes": dict(zip(protocol.classes, counts, strict=True)),
        "data": account.data,
        "boundaries": account.record.get("boundaries"),
        "protocol": file["evaluation"]["folds"],
        "folds": account.folds,
        "seeds": {"search": file["search"]["seed"], "train": file["train"]["seed"]},
        "versions": account.record.get("versions", {}),
        "states": account.states,
        "trials": [_trial(result, account.folds) for result in account.results],
        "best": _best(account),
        "pareto": front(account),
        "confirmed": [trial.as_json() for trial in account.confirmed],
        "chance": account.chances or None,
        "majority": {"class": name, **scores},
        "damaged": list(account.damaged),
    }


def worth(estimate: Estimate, trials: int) -> dict[str, Any]:
    """Selected and corrected scores; only the objective has an interval."""
    return {
        "selected": {
            **estimate.selected,
            "interval": list(estimate.selected_interval),
            "level": estimate.level,
            "label": LABEL,
        },
        "corrected": {
            **estimate.corrected,
            "interval": list(estimate.interval),
            "level": estimate.level,
            "method": estimate.method,
            "finished": estimate.finished,
            "trials": trials,
            "caveats": list(estimate.caveats),
        },
        "left_out": estimate.left_out,
    }


def _trial(result: LosoResult, folds: int) -> dict[str, Any]:
    """One trial; its scores are pooled over the folds done, `partial` where these are not all."""
    record: TrialRecord = result.record
    return {
        "number": record.number,
        "state": record.state,
        "params": record.params,
        "folds_done": result.folds_done,
        "folds": folds,
        "partial": not result.complete,
        **{name: result.scores.get(name) for name in OBJECTIVES},
        "seconds": record.seconds,
        "reason": record.reason,
    }


def _best(account: Search) -> dict[str, Any] | None:
    if account.best is None or account.estimate is None:
        return None
    return {
        "number": account.best.record.number,
        "params": account.best.record.params,
        **worth(account.estimate, len(account.results)),
        "nested": None,
        "nested_cost": nested_cost(account).as_json(),
        "confusion": account.confusion().tolist(),
        "per_class": per_class(account),
        "datasets": per_dataset(account),
        "per_subject": per_subject(account),
    }


def per_class(account: Search) -> dict[str, dict[str, float]]:
    """Clips, recall, precision and F1 of each class, of the winner; 0 where nothing divides."""
    table = account.confusion()
    found = {}
    for c, name in enumerate(account.protocol.classes):
        hits, true, guessed = (
            int(each) for each in (table[c, c], table[c].sum(), table[:, c].sum())
        )
        found[name] = {
            "clips": true,
            "recall": hits / true if true else 0.0,
            "precision": hits / guessed if guessed else 0.0,
            "f1": 2 * hits / (true + guessed) if true + guessed else 0.0,
        }
    return found


def per_dataset(account: Search) -> dict[str, dict[str, float]]:
    """The winner's pooled scores on the clips of each data set, over the classes of all."""
    protocol, best = account.protocol, account.best
    if best is None:
        return {}
    dataset = np.array([dataset for dataset, _ in protocol.subject])
    found = {}
    for name in sorted(set(dataset.tolist())):
        own = dataset == name
        guessed = best.probs[own].argmax(1)
        table = confusion(protocol.label[own], guessed, len(protocol.classes))
        scores = {key: float(score(table)) for key, score in OBJECTIVES.items()}
        found[name] = {"clips": int(own.sum()), **scores}
    return found


def per_subject(account: Search) -> list[dict[str, Any]]:
    """Clips of each subject and how many of them the winner gets right, hardest first."""
    protocol, best = account.protocol, account.best
    if best is None:
        return []
    right = best.probs.argmax(1) == protocol.label
    found: dict[str, dict[str, Any]] = {}
    for subject, hit in zip(protocol.subject, right, strict=True):
        name = "/".join(subject)
        row = found.setdefault(name, {"subject": name, "clips": 0, "right": 0})
        row["clips"] += 1
        row["right"] += int(hit)
    return sorted(found.values(), key=lambda row: (row["right"] / row["clips"], row["subject"]))
