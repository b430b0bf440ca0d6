"""Tables, figures and the methods paragraph of `compare --paper`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mer_search.errors import InputError
from mer_search.loso.ledger import Ledger
from mer_search.report import paper, words
from mer_search.report.account import read
from mer_search.report.compare import compare
from mer_search.report.methods import methods

Make = Callable[..., Ledger]


@pytest.mark.slow
def test_the_folder_holds_tables_figures_and_methods(invented_search: Make, tmp_path: Path) -> None:
    found = compare([invented_search(), invented_search("other_one")])
    paper.write(found, tmp_path / "paper")
    names = {file.name for file in (tmp_path / "paper").iterdir()}
    assert {"scores.tex", "classes.tex", "methods.txt"} < names
    assert {f"invented-{kind}.{end}" for kind in ("confusion", "trials") for end in ("pdf", "svg")
            } < names  # fmt: skip
    table = (tmp_path / "paper" / "scores.tex").read_text()
    estimate = found.searches[0].estimate
    assert estimate is not None
    assert f"corrected & {words.number(estimate.corrected['uf1'])}" in table
    assert words.interval(estimate.interval) in table
    assert "other\\_one" in table
    assert (tmp_path / "paper" / "invented-trials.pdf").read_bytes().startswith(b"%PDF")
    assert found.pairs[0].words in (tmp_path / "paper" / "methods.txt").read_text()


def test_methods_say_what_a_reviewer_asks(invented_search: Make) -> None:
    told = methods(read(invented_search()))
    for part in ("30 clips of 6 subjects", "leave one subject out (6 folds)", "content digest 0000",
                 "model.lstm_size {16, 32}", "(where model.attention in {temporal})",
                 "train.learning_rate [0.0001, 0.01], logarithmic", "train.epochs 3",
                 "6 trials (3 done, 1 stopped, 1 failed, 1 unfinished)", "selected, optimistic",
                 "BBC pooled", "Seeds: search 0, training 0"):  # fmt: skip
        assert part in told


def test_nothing_to_print_is_refused(invented_search: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trial has all folds yet; there is nothing to print"):
        paper.write(compare([invented_search(states=("FAILED",))]), tmp_path)
