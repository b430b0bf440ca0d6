"""Several objectives: which trials nothing else beats, on the terminal and in the document."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from mer_search.loso.ledger import Ledger
from mer_search.report import table
from mer_search.report.compare import compare
from mer_search.report.pareto import unbeaten

Make = Callable[..., Ledger]


@pytest.fixture
def two_objectives(invented_search: Make) -> Ledger:
    """Better trials take longer, but for the last but one: worse than the last, and slower."""
    ledger = invented_search(
        states=("COMPLETE",) * 4, evaluation={"objective": ["uf1", "seconds"]},
        search={"racing": {"rule": "none"}},
    )  # fmt: skip
    for number, seconds in enumerate((10.0, 20.0, 900.0, 300.0)):
        ledger.write_trial(replace(ledger.trial(number), seconds=seconds))
    return ledger


def test_pareto_is_in_the_document_and_the_table(two_objectives: Ledger) -> None:
    comparison = compare([two_objectives])
    front = json.loads(json.dumps(comparison.as_json()))["pareto"]
    scores = {each["number"]: each["uf1"] for each in comparison.as_json()["trials"]}
    assert scores[0] < scores[1] < scores[2] < scores[3]
    assert [(row["number"], row["uf1"], row["seconds"]) for row in front] == [
        (3, scores[3], 300.0), (1, scores[1], 20.0), (0, scores[0], 10.0),
    ]  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=200).print(table.render(comparison, width=200))
    lines = [line.strip() for line in out.getvalue().splitlines()]
    title = lines.index("Pareto front: no trial is better in uf1 and seconds")
    assert lines[title + 1].split() == ["trial", "uf1", "seconds"]
    rows = [line.split() for line in lines[title + 2 : title + 5]]
    assert [(row[0], row[2]) for row in rows] == [("3", "300"), ("1", "20"), ("0", "10")]


def test_one_objective_has_no_front(invented_search: Make) -> None:
    comparison = compare([invented_search()])
    assert comparison.as_json()["pareto"] is None


def test_equals_do_not_beat_each_other() -> None:
    assert unbeaten([[1.0, 2.0], [1.0, 2.0], [0.5, 3.0], [0.5, 2.0]]) == [True, True, True, False]
