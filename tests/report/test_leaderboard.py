"""Rivals side by side, and published figures that stay apart from ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mer_search.errors import InputError
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_protocol
from mer_search.report import leaderboard, published
from mer_search.report.compare import compare

Make = Callable[..., Ledger]


@pytest.fixture
def ledgers(invented_search: Make) -> list[Ledger]:
    return [
        invented_search("first", states=("COMPLETE",)),
        invented_search("second", model={"name": "mean-pool", "projection": 8}),
        invented_search("third", states=("RUNNING",)),
    ]


def test_the_table_is_the_comparison_with_models_and_costs(ledgers: list[Ledger]) -> None:
    found = leaderboard.read(ledgers)
    document = found.as_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    whole = compare(ledgers).as_json()
    assert document["pairs"] == whole["pairs"]
    assert document["union"] == whole["union"]
    rows = {row["search"]: row for row in document["rivals"]}
    for search in whole["searches"][:2]:
        row, best = rows[search["search"]], search["best"]
        assert row["number"] == best["number"]
        for kind in ("selected", "corrected"):
            assert row[kind] == best[kind]
        assert row["folds"] == sum(trial["folds_done"] for trial in search["trials"])
        assert row["seconds"] > 0
    assert [rows[name]["model"] for name in ("first", "second")] == ["attention-lstm", "mean-pool"]
    worth = [row["corrected"]["uf1"] for row in document["rivals"][:2]]
    assert worth == sorted(worth, reverse=True)
    assert document["rivals"][2]["search"] == "third"
    assert document["rivals"][2]["corrected"] is None


def test_a_terminal_shows_every_rival_and_who_is_better(ledgers: list[Ledger]) -> None:
    out = Console(width=200)
    with out.capture() as shown:
        out.print(leaderboard.render(leaderboard.read(ledgers)))
    text = shown.get()
    for part in ("Rivals by corrected UF1", "first", "second", "first against second: ",
                 "Not compared, no trial with all folds: third"):  # fmt: skip
        assert part in text
    assert "Published" not in text, "three other classes: nothing was published for them"


def test_searches_on_other_data_are_refused(invented_search: Make) -> None:
    ledgers = [invented_search("first"), invented_search("second")]
    file = Path(ledgers[1].root) / "search.yaml"
    file.write_text(file.read_text().replace("0" * 64, "1" * 64))
    with pytest.raises(InputError, match=r"first and second: data digests 0{16} and 1{16} differ"):
        leaderboard.read(ledgers)


def test_every_published_row_says_what_it_was_selected_on_and_where_it_stands() -> None:
    rows = published.published()
    assert len(rows) == 20
    for row in rows:
        assert row.protocol in published.CLASSES
        assert row.scores
        assert all(0 < value < 1 for value in (*row.scores.values(), *row.datasets.values()))
        assert row.selected_on
        assert len(row.source) > 8
    (majority,) = (r for r in rows if r.method == "majority class" and r.protocol == "megc-3")
    negative = 250 / 442
    assert majority.scores["accuracy"] == pytest.approx(negative, abs=5e-5)
    assert majority.scores["uf1"] == pytest.approx(2 * negative / (1 + negative) / 3, abs=5e-5)


def test_published_rows_are_those_of_the_same_classes_and_folds(invented_search: Make) -> None:
    protocol = replace(
        read_protocol(invented_search()), classes=("negative", "positive", "surprise")
    )
    rows = published.like(protocol, "loso")
    assert {row.protocol for row in rows} == {"megc-3"}
    scores = [row.scores["uf1"] for row in rows]
    assert scores == sorted(scores)
    assert published.like(protocol, "group-5") == ()
    (ststnet,) = (row for row in rows if row.method == "STSTNet")
    assert ststnet.as_json()["datasets"]["samm"] == {"uf1": 0.6588}
