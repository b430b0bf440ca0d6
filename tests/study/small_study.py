"""A small study: trials that are proposed, invented and told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mer_search import space_file
from mer_search.experiment import Experiment
from mer_search.loso.ledger import TrialRecord
from mer_search.study.rebuild import Proposals


def experiment(search: dict[str, Any] | None = None, **sections: Any) -> Experiment:
    """Two settings, one of them with a condition, unless `sections` tell others."""
    return space_file.from_dict(
        {
            "name": "small",
            "data": {"reader": "casme2", "root": "here"},
            "model": {
                "attention": {"choice": ["none", "temporal"]},
                "attention_size": {"choice": [8, 16], "when": {"attention": ["temporal"]}},
                "lstm_size": {"int": [8, 24], "step": 8},
            },
            "search": search or {},
            **sections,
        }
    )


def by_size(params: dict[str, Any]) -> float:
    """The larger the better."""
    return float(params["model.lstm_size"] / 64)


def run(
    proposals: Proposals,
    trials: int,
    state: str = "COMPLETE",
    worth: Callable[[dict[str, Any]], float] = by_size,
) -> list[TrialRecord]:
    """Asks and tells; fewer records where the space has an end."""
    records: list[TrialRecord] = []
    for _ in range(trials):
        if (proposal := proposals.ask()) is None:
            break
        number, params, distributions = proposal
        record = TrialRecord(number, "RUNNING", params, distributions, started=1.0)
        value = worth(params)
        record = replace(record, measured={"parameters": 100 * value}, seconds=5.0)
        records.append(replace(record, state=state, values=(value / 2, value)))
        proposals.tell(records[-1])
    return records
