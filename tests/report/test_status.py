"""Where a search stands, from its records alone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from mer_search.errors import InputError
from mer_search.loso.ledger import FoldBlock, Ledger
from mer_search.report import status
from mer_search.report.compare import compare

Make = Callable[..., Ledger]


def shown(content: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=200, highlight=False).print(content)
    return out.getvalue()


def timed(ledger: Ledger, number: int, index: int, finished: float, seconds: float = 10) -> None:
    block: FoldBlock = ledger.block(number, index)
    ledger.write_block(number, index, replace(block, finished=finished, seconds=seconds))


def test_states_folds_and_best_are_those_of_the_records(invented_search: Make) -> None:
    ledger = invented_search(search={"trials": 8})
    found = status.read(ledger)
    assert found.states == {"RUNNING": 1, "COMPLETE": 3, "STOPPED": 1, "FAILED": 1}
    assert (found.wanted, found.folds, found.folds_done) == (8, 48, 3 * 6 + 2)
    assert found.folds_left == 5 + 2 * 6, "the running trial's rest and two trials to come"
    best = compare([ledger]).as_json()["best"]
    assert (found.best, found.selected) == (best["number"], best["selected"]["uf1"])
    assert found.reasons == {4: "out of memory"}
    assert found.started == 1.7e9
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["name"] == "invented"


def test_the_rate_counts_folds_since_the_last_pause(invented_search: Make) -> None:
    ledger = invented_search(states=("COMPLETE", "RUNNING"))
    for index, moment in enumerate((0.0, 10.0, 5000.0, 5030.0)):
        timed(ledger, 0, index, 1.7e9 + moment)
    timed(ledger, 1, 0, 1.7e9 + 5060.0)
    bounds = [stop - start for start, stop in ledger.folds()["blocks"]]
    found = status.read(ledger)
    assert found.rate == pytest.approx(bounds[3] + bounds[0]), "folds in the 60 s after the pause"
    assert found.seconds_left == pytest.approx(60 * found.folds_left / found.rate)
    assert found.last == 1.7e9 + 5060.0


def test_copies_of_a_repeated_proposal_are_no_work(invented_search: Make) -> None:
    ledger = invented_search(states=("COMPLETE", "COMPLETE"))
    once = status.read(invented_search("once", states=("COMPLETE",)))
    for index in range(4):
        ledger.write_block(1, index, ledger.block(0, index))
    assert status.read(ledger).rate == once.rate is not None


def test_nothing_is_guessed_from_a_single_block(invented_search: Make) -> None:
    found = status.read(invented_search(states=("RUNNING",)))
    assert (found.rate, found.seconds_left, found.best) == (None, None, None)
    text = shown(status.page(found))
    assert "rate not known yet, time left unknown" in text
    assert "best so far: none has all folds yet" in text


def test_a_finished_search_has_nothing_left(invented_search: Make) -> None:
    found = status.read(invented_search(states=("COMPLETE",) * 6))
    assert (found.folds_left, found.seconds_left) == (0, None)
    assert "nothing left" in shown(status.page(found))


def test_the_page_names_failures_and_damage(invented_search: Make) -> None:
    ledger = invented_search()
    (Path(ledger.root) / "trials/000000/block-01.npz").write_bytes(b"torn")
    text = shown(status.page(status.read(ledger)))
    assert "failed: trial 4: out of memory" in text
    assert "block-01.npz: unreadable" in text
    assert "selected (optimistic)" in text


def test_the_list_has_a_line_per_search(invented_search: Make) -> None:
    store = invented_search("first").store
    invented_search("second", states=("RUNNING",))
    found = status.read_all(store)
    lines = shown(status.table(found, store)).splitlines()
    assert lines[1].split()[:6] == ["first", "3", "1", "1", "1", "6"]
    assert lines[2].startswith("second")
    assert "no search in" in shown(status.table([], store))


def test_an_unknown_search_is_refused_with_the_nearest(invented_search: Make) -> None:
    store = invented_search().store
    with pytest.raises(InputError, match="did you mean 'invented'"):
        status.read(Ledger(store, "inventd"))
