"""Trials given by number and a published log, paired by clip."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from mer_search.errors import InputError
from mer_search.loso.ledger import Ledger
from mer_search.report.given import compare, number_in, render
from mer_search.report.log import export_log

Make = Callable[..., Ledger]


def shown(found: object) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(found))  # type: ignore[arg-type]
    return console.export_text()


def test_names_with_a_number_are_trials() -> None:
    assert number_in("pilot:17") == 17
    assert number_in("pilot") is None


def test_trials_of_one_search_are_paired_and_holm_corrected(invented_search: Make) -> None:
    ledger = invented_search()
    found = compare([(ledger, 0), (ledger, 1), (ledger, 3), (ledger, "best")])
    assert [each.name for each in found.entrants] == ["invented:0", "invented:1", "invented:3"]
    document = found.as_json()
    assert len(document["pairs"]) == 3
    assert all(pair["p_holm"] >= pair["p"] for pair in document["pairs"])
    assert document["entrants"][0]["folds"] == 6
    assert "invented:0 against invented:3" in shown(found)
    assert "(Holm, 3 pairs)" in shown(found)


def test_a_log_of_other_numbers_and_spelling_stands_beside_a_trial(
    invented_search: Make, tmp_path: Path
) -> None:
    ledger, log = invented_search(), tmp_path / "published.txt"
    text = export_log(ledger, 3).replace("toy sub0", "TOY ")
    other = str.maketrans("012", "312")  # its own class numbers
    log.write_text("\n".join(
        line if line.startswith("TOY") else f"{line[:4]}{line[4:].translate(other)}"
        for line in text.splitlines()
    ))  # fmt: skip
    found = compare([(ledger, 3)], log)
    assert [each.name for each in found.entrants] == ["invented:3", "published.txt"]
    assert found.entrants[0].scores == found.entrants[1].scores
    assert found.pairs[0].words.startswith("no evidence of a difference: +.000")


def test_a_log_of_other_clips_or_truths_is_refused(invented_search: Make, tmp_path: Path) -> None:
    ledger, log = invented_search(), tmp_path / "log.txt"
    lines = export_log(ledger, 3).splitlines()
    log.write_text("\n".join([*lines[:-1], "more 1 1"]))
    with pytest.raises(InputError, match=r"1 of 30 clips are only in the log(.|\n)*missing in"):
        compare([(ledger, 3)], log)
    clip, truth, guess = lines[1].split()
    log.write_text("\n".join([lines[0], f"{clip} {(int(truth) + 1) % 3} {guess}", *lines[2:]]))
    with pytest.raises(InputError, match=r"class \d of the log is .* and .* here; compare"):
        compare([(ledger, 3)], log)
    log.write_text("\n".join([lines[0], f"{clip} {truth} 7", *lines[2:]]))
    with pytest.raises(InputError, match=r"classes \[7\] are predicted but no clip belongs"):
        compare([(ledger, 3)], log)


def test_trials_of_other_data_are_refused(invented_search: Make, tmp_path: Path) -> None:
    first, other = invented_search(), invented_search("other")
    file = Path(other.root) / "search.yaml"
    file.write_text(file.read_text().replace("0" * 64, "1" * 64))
    with pytest.raises(InputError, match="data digests 0000000000000000 and 1111111111111111"):
        compare([(first, 3), (other, 3)])
