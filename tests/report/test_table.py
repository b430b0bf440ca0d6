"""What a terminal and a pipe are shown."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mer_search.loso.ledger import Ledger
from mer_search.report import table, words
from mer_search.report.compare import compare

Make = Callable[..., Ledger]


def shown(*ledgers: Ledger, width: int = 200) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, soft_wrap=True)
    console.print(table.render(compare(ledgers), width=width))
    return out.getvalue()


def test_the_leaderboard_ranks_finished_trials_and_brackets_the_others(
    invented_search: Make,
) -> None:
    ledger = invented_search()
    text, search = shown(ledger), compare([ledger]).searches[0]
    assert search.best is not None
    lines = [line.split() for line in text.splitlines()]
    best = next(line for line in lines if line[:2] == ["1", "best"])
    assert best[2:5] == [str(search.best.record.number), "done", "6/6"]
    assert best[5] == words.number(search.best.scores["uf1"])
    assert best[8] == f"{search.best.record.seconds:.0f}"
    stopped = next(line for line in lines if line[:3] == ["-", "2", "stopped"])
    assert stopped[4].startswith("(")
    assert "over the folds done only, not ranked" in text
    heads = next(line for line in lines if line[:1] == ["rank"])
    assert heads[7:] == ["seconds", "attention", "lstm_size", "learning_rate", "attention_size"]


def test_selected_is_never_said_without_corrected_chance_and_cost(invented_search: Make) -> None:
    ledger = invented_search()
    text, document = shown(ledger), compare([ledger]).as_json()
    best = document["best"]
    for score in (best["selected"]["uf1"], best["corrected"]["uf1"],
                  *best["corrected"]["interval"], document["chance"]["uf1"],
                  document["majority"]["uf1"]):  # fmt: skip
        assert words.number(score) in text
    assert "Optimistic: this score chose the trial among 3." in text
    assert "corrects the choice among the 3 finished of 6 trials" in text
    assert "For publication: nested evaluation (4 folds x 6 trials x 5 outer groups = 120" in text
    assert "Failed: 1 (4): out of memory" in text
    assert "Stopped early: 1, after 1 of 6 folds." in text


def test_damaged_blocks_and_unranked_trials_are_named(invented_search: Make) -> None:
    ledger = invented_search()
    broken = Path(ledger.root) / "trials/000003/block-02.npz"
    broken.write_bytes(b"torn")
    text = shown(ledger)
    assert f"Damaged record: {broken}: unreadable" in text
    assert "blocks of them are missing or damaged: trial 3." in text


def test_a_long_search_shows_twenty_and_says_how_many_more(invented_search: Make) -> None:
    text = shown(invented_search(states=("COMPLETE",) * 23))
    assert sum(" done " in line for line in text.splitlines()) == table.SHOWN
    assert "and 3 more trials; --json or --html shows all" in text


def test_a_narrow_terminal_has_one_column_of_settings(invented_search: Make) -> None:
    text = shown(invented_search(), width=80)
    assert "settings" in text
    board = text[: text.index("30 clips")]
    assert max(map(len, board.splitlines())) <= 80


def test_an_empty_search_says_so(invented_search: Make) -> None:
    text = shown(invented_search(states=("FAILED",)))
    assert "No trial has all folds yet, so there is no best one." in text
    assert "Corrected" not in text


def test_several_searches_end_with_a_sentence_to_quote(invented_search: Make) -> None:
    ledgers = [invented_search(name) for name in ("first", "second", "third")]
    empty = invented_search("empty", states=("RUNNING",))
    text = shown(*ledgers, empty)
    assert "first against second: no evidence of a difference: +.000 [.000, .000]" in text
    assert "(Holm, 3 pairs)" in text
    assert "Best of all 9 finished of 19 trials: first trial" in text
    assert "Not compared, no trial with all folds: empty." in text


def test_markup_of_users_is_shown_as_written(hostile: Ledger) -> None:
    assert "<script>boom()</script> [bold]" in shown(hostile)


@pytest.mark.parametrize(
    ("paths", "short"),
    [
        (["model.lstm_size", "train.epochs"], ["lstm_size", "epochs"]),
        (["features.keyframes.method", "features.align.method"],
         ["keyframes.method", "align.method"]),
        (["a.size", "b.lstm_size"], ["size", "lstm_size"]),
    ],
)  # fmt: skip
def test_short_names_tell_paths_apart(paths: list[str], short: list[str]) -> None:
    assert list(words.short_names(paths).values()) == short


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.61249, ".612"), (1.0, "1.000"), (-0.0314, "-.031"), (None, "-"), (0.0, ".000")],
)
def test_numbers_are_printed_as_the_field_does(value: float | None, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"random_weights": ["vgg-face"]}, r"weights of vgg-face are random: .* say nothing of"),
        ({"boundaries": "annotated"}, "Scores hold for clips cut at annotated onset and offset"),
        (
            {"boundaries": "spotted", "keyframes": {"apex": "annotated", "tim": "spotted"}},
            "Key frames by apex read annotations, which a new video does not have",
        ),
    ],
)
def test_what_limits_the_numbers(with_record: Make, record: dict[str, Any], told: str) -> None:
    limits = " ".join(words.caveats(compare([with_record("limited", **record)]).searches[0]))
    assert re.search(told, limits), limits
    assert not re.search(told, " ".join(words.caveats(compare([with_record("free")]).searches[0])))


@pytest.mark.parametrize(
    ("p", "told"), [(0.0004, "p < .001"), (0.031, "p = .031"), (1.0, "p = 1.000")]
)
def test_p_values_read_as_journals_print_them(p: float, told: str) -> None:
    assert words.p_value(p) == told
