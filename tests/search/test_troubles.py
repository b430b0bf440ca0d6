"""Failures, limits and stores that cannot be written: what ends a search, and what it says."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mer_search import space_file
from mer_search.config import Evaluation, Search
from mer_search.errors import InputError, SearchDiffers
from mer_search.loso.confirmed import best, confirmed, place
from mer_search.loso.ledger import Ledger, TrialRecord
from mer_search.loso.result import read_protocol, read_results
from mer_search.search.book import Book
from mer_search.search.confirm import fresh
from mer_search.search.driver import Outcome
from mer_search.search.limits import Limits
from mer_search.search.prepare import stored
from mer_search.search.searcher import hear
from mer_search.search.storing import StoreFault, writing
from mer_search.search.troubles import IN_A_ROW, Troubles
from mer_search.search.warming import warm

Make = Callable[..., Ledger]
SCORES = {"uf1": 0.5, "uar": 0.6, "accuracy": 0.7}


def book_of(ledger: Ledger, trials: int, **search: Any) -> Book:
    experiment = stored(ledger)[0]
    experiment = replace(experiment, search=experiment.search.model_copy(update=search))
    return Book(experiment, ledger, read_protocol(ledger), trials=trials)


def test_the_commonest_reason_comes_first() -> None:
    troubles = Troubles()
    for reason in ("no clip", "CUDA out of memory: 12 MiB", "CUDA out of memory: 14 MiB",
                   "a", "b"):  # fmt: skip
        troubles.failed(reason)
    assert troubles.hopeless
    first, *rest = troubles.told().splitlines()
    assert first.startswith("5 trials failed before the first block and none succeeded")
    assert rest[0] == "  - 2 times: CUDA out of memory: 14 MiB"
    assert rest[-1] == "  - and 1 other reasons; `mer-search status` lists them"


def test_many_failures_in_a_row_end_a_search_that_had_succeeded() -> None:
    troubles = Troubles()
    troubles.block()
    for _ in range(IN_A_ROW - 1):
        troubles.failed("no memory")
    assert not troubles.hopeless
    troubles.block()
    troubles.failed("no memory")
    assert not troubles.hopeless
    for _ in range(IN_A_ROW - 1):
        troubles.failed("no memory")
    assert troubles.hopeless
    assert f"{IN_A_ROW} trials failed one after another" in troubles.told()


def test_what_still_runs_does_not_change_why_a_search_ends(invented_search: Make) -> None:
    book = book_of(invented_search(states=("RUNNING",) * 4), 5)
    for _ in range(4):
        assert book.next() is not None
    for number in range(3):
        book.end(number, "FAILED", "no memory")
    assert book.next() is None
    assert not book.block(3, 0, SCORES, 1.0)
    assert book.in_vain
    assert "3 trials failed before the first block" in book.troubles.told()


def test_a_search_that_ends_with_failures_alone_says_so(invented_search: Make) -> None:
    book = book_of(invented_search(states=("RUNNING",)), 1)
    assert book.next() is not None
    book.block(0, 0, SCORES, 1.0)
    assert not book.in_vain  # it still runs
    book.end(0, "FAILED", "no memory")
    assert book.in_vain
    assert not book.troubles.hopeless
    assert "1 trial failed and none has all its folds" in book.troubles.told()


def test_one_failure_beside_a_success_ends_well(invented_search: Make) -> None:
    book = book_of(invented_search(states=("COMPLETE", "RUNNING")), 2)
    assert book.next() is not None
    book.end(1, "FAILED", "no memory")
    assert not book.in_vain


def test_folds_are_counted_over_launches_and_hours_within_one(invented_search: Make) -> None:
    ledger = invented_search()
    folds, records = read_protocol(ledger).folds, ledger.trials()
    limits = Limits.of(Search(max_folds=21), records, folds)
    assert limits.folds == 3 * 6 + 2  # three complete, one stopped and one running after a fold
    assert not limits.reached
    limits.folds += 1
    assert limits.reached == "search.max_folds 21 is reached (21 folds trained); raise it to go on"
    limits = Limits(Search(max_hours=0.5))
    assert not limits.reached
    limits.begun -= 1801
    assert limits.reached == "search.max_hours 0.5 is reached; the same command goes on for as long"


def test_a_limit_ends_the_search_after_the_block_and_leaves_its_trial_running(
    invented_search: Make,
) -> None:
    ledger = invented_search(states=("COMPLETE", "RUNNING"))
    book = book_of(ledger, 5, max_folds=8)
    record = book.next()
    assert record is not None
    assert not book.block(1, 1, SCORES, 1.0)
    assert book.limit == "search.max_folds 8 is reached (8 folds trained); raise it to go on"
    assert book.next() is None
    assert ledger.trial(1).state == "RUNNING"


@pytest.mark.parametrize(
    ("ended", "why", "cut_short"),
    [
        ("finished", "", False),
        ("interrupted", "", True),
        ("stopped", "", True),
        ("stopped", "search.max_hours 0.5 is reached", False),
    ],
)
def test_a_limit_is_no_interruption(ended: Any, why: str, cut_short: bool) -> None:
    prepared: Any = None
    assert Outcome(prepared, ended, 1, 0, why).cut_short == cut_short


def test_a_damaged_block_of_a_finished_trial_is_computed_again(invented_search: Make) -> None:
    ledger = invented_search(states=("COMPLETE", "COMPLETE"))
    file = Path(ledger.root, "trials/000001/block-02.npz")
    content = bytearray(file.read_bytes())
    content[content.index(ledger.block(1, 2).probs.tobytes())] ^= 0x10
    file.write_bytes(content)
    assert ledger.sound(0) == {0, 1, 2, 3}
    assert ledger.sound(1) == {0, 1, 3}
    book = book_of(ledger, 2)
    record = book.next()
    assert record is not None
    assert (record.number, record.state) == (1, "RUNNING")
    for index in range(4):
        book.block(1, index, SCORES, 1.0)
    assert book.next() is None
    assert ledger.trial(1).state == "COMPLETE"


@pytest.mark.parametrize("keep", [0, 30, -1])
def test_a_cut_block_is_not_sound(invented_search: Make, keep: int) -> None:
    ledger = invented_search(states=("COMPLETE",))
    file = Path(ledger.root, "trials/000000/block-00.npz")
    file.write_bytes(file.read_bytes()[:keep])
    assert ledger.sound(0) == {1, 2, 3}
    assert len(ledger.blocks(0)[1]) == 1


def test_a_half_written_trial_keeps_its_number_as_failed(invented_search: Make) -> None:
    ledger = invented_search(states=("COMPLETE", "COMPLETE"))
    file = Path(ledger.root, "trials/000001/trial.json")
    file.write_text(file.read_text()[:40])
    book = book_of(ledger, 3)
    assert [record.number for record in iter(book.next, None)] == [2]
    assert "unreadable" in ledger.trials()[1].reason


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False,
        capture_output=True,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs rights that this user lacks")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_told_and_costs_nothing_that_was_finished(
    invented_search: Make, small_disk: Path
) -> None:
    ledger = invented_search(store=small_disk, states=("COMPLETE", "RUNNING"))
    book = book_of(ledger, 4)
    record = book.next()
    assert record is not None
    filler = small_disk / "filler"
    with contextlib.suppress(OSError):
        filler.write_bytes(bytes(2**20))
    before = (Path(ledger.root) / "trials/000001/trial.json").read_bytes()
    assert not book.block(1, 1, SCORES, 1.0)
    assert "the store cannot be written (No space left on device); free some space" in book.fault
    assert book.next() is None
    assert (Path(ledger.root) / "trials/000001/trial.json").read_bytes() == before
    assert not list(Path(ledger.root).rglob("*.partial"))
    filler.unlink()
    again = book_of(ledger, 4)
    record = again.next()
    assert record is not None
    assert record.number == 1
    assert again.block(1, 1, SCORES, 1.0)


def test_a_store_that_turns_read_only(invented_search: Make, small_disk: Path) -> None:
    ledger = invented_search(store=small_disk, states=("COMPLETE",))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    book = book_of(ledger, 4)
    assert book.next() is None
    assert book.left == 3
    assert "Read-only file system); make it writable and launch again" in book.fault
    assert [result.complete for result in read_results(ledger)] == [True]


def test_other_faults_of_the_system_pass(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "x")
    with pytest.raises(ConnectionError, match="gone"), writing(ledger):
        raise ConnectionError(errno.ECONNRESET, "gone")
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES), ledger.root)
    with pytest.raises(StoreFault, match=r"Permission denied\); give yourself"), writing(ledger):
        raise denied


def test_what_a_worker_says_of_its_store_leaves_the_trial_running(invented_search: Make) -> None:
    ledger = invented_search(states=("RUNNING",))
    book = book_of(ledger, 1)
    book.next()
    assert not hear(book, 0, {"store": "the store cannot be written"})
    assert book.fault == "the store cannot be written"
    assert ledger.trial(0).state == "RUNNING"


def test_a_broken_constraint_is_recorded_and_not_trained(invented_search: Make) -> None:
    ledger = invented_search(states=("RUNNING",))
    book = book_of(ledger, 1)
    book.next()
    told = {"parameters": 300, "excess": 0.5, "broken": "300 parameters, constraint 200"}
    assert not hear(book, 0, told)
    record = ledger.trial(0)
    assert (record.state, record.measured) == ("STOPPED", {"parameters": 300.0})
    assert record.reason == "300 parameters, constraint 200"
    assert book.proposals.study.trials[0].constraints == {"parameters": 0.5}


def test_standings_are_remembered_from_records_and_the_incumbents_blocks(
    invented_search: Make,
) -> None:
    ledger = invented_search(search={"racing": {"rule": "predictive"}})
    scores = {r.record.number: r.scores["uf1"] for r in read_results(ledger) if r.complete}
    for number, score in scores.items():
        record = ledger.trial(number)
        ledger.write_trial(replace(record, values=(*record.values[:-1], score)))
    book = book_of(ledger, 6)
    assert book.standings.incumbent == max(scores, key=lambda number: scores[number])
    assert set(book.standings.counts) == {book.standings.incumbent, 5}


def test_the_best_three_are_trained_again_with_seeds_of_their_own(invented_search: Make) -> None:
    ledger = invented_search(states=("COMPLETE",) * 4)
    experiment = stored(ledger)[0]
    experiment = space_file.from_dict({**experiment.as_file(), "search": {"confirm": 2}})
    results = read_results(ledger)
    chosen = best(results, "uf1")
    assert len(chosen) == 3
    assert confirmed(ledger, results, "uf1") == ()
    again = fresh(experiment, [each.record.params for each in chosen], place(chosen))
    assert again.search.trials == 6
    assert [trial["train.seed"] for trial in again.search.first[:7]] == [1, 1, 1, 2, 2, 2, 3]
    thrice = replace(experiment, evaluation=Evaluation(seeds=3))  # the search used 0, 1 and 2
    again_thrice = fresh(thrice, [each.record.params for each in chosen], place(chosen))
    assert [trial["train.seed"] for trial in again_thrice.search.first[2:4]] == [3, 6]
    more = replace(experiment, search=experiment.search.model_copy(update={"confirm": 5}))
    later = fresh(more, [each.record.params for each in chosen], place(chosen))
    assert later.search.trials == 15
    assert later.identity("") == again.identity("")  # goes on with the two seeds that are there
    assert space_file.from_dict(again.as_file()) == again
    inner = Ledger(ledger.root, again.name)
    inner.create({**again.as_file(), "record": {}}, ledger.folds())
    for number, params in enumerate(again.search.first[:6]):
        source = chosen[number % 3].record.number
        for index, block in ledger.blocks(source)[0].items():
            inner.write_block(number, index, block)
        inner.write_trial(TrialRecord(number, "COMPLETE", params, {}, values=(0.5,) * 4))
    found = confirmed(ledger, results, "uf1")
    assert [each.number for each in found] == [each.record.number for each in chosen]
    assert found[0].scores == (found[0].selected,) * 2
    assert found[0].spread == 0.0
    assert "+- 0.000 with 2 fresh seeds" in found[0].told("uf1")


def test_a_warm_start_is_decided_once(invented_search: Make) -> None:
    earlier = invented_search("earlier")
    experiment = replace(stored(earlier)[0], name="later")
    later = Ledger(earlier.store, "later")
    told: list[str] = []
    trials = warm(experiment, later, "earlier", says=told.append)
    assert len(trials) == 3
    assert told == ["warm start from earlier: 3 trials used; 3 dropped: without all folds"]
    later.create({**experiment.as_file(), "record": {}}, earlier.folds())
    assert warm(experiment, later, None) == trials
    assert warm(experiment, later, "earlier") == trials
    with pytest.raises(SearchDiffers, match="began with --warm-start earlier; give a new --name"):
        warm(experiment, later, "another")
    with pytest.raises(SearchDiffers, match="this search began without a warm start"):
        warm(experiment, earlier, "later")


def test_a_warm_start_from_nowhere_or_another_score(invented_search: Make) -> None:
    earlier = invented_search("earlier")
    experiment = stored(earlier)[0]
    new = Ledger(earlier.store, "new")
    with pytest.raises(InputError, match="holds no search 'earlie'; did you mean 'earlier'"):
        warm(experiment, new, "earlie")
    other = space_file.from_dict({**experiment.as_file(), "evaluation": {"objective": "uar"}})
    told = "earlier was scored with .+ objective uf1 and .+ objective uar; its scores say nothing"
    with pytest.raises(InputError, match=told):
        warm(other, new, "earlier")
    steadier = {"evaluation": {"objective": "uf1", "seeds": 2, "outer": {"folds": "group-2"}}}
    assert warm(space_file.from_dict({**experiment.as_file(), **steadier}), new, "earlier")
