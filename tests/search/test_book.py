"""The book: what is proposed, what is written when, and what a relaunch goes on with. No Ray."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from mer_search import space_file
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import Protocol, read_protocol
from mer_search.search.book import Book, News
from mer_search.search.prepare import stored
from mer_search.search.searcher import hear
from mer_search.search.troubles import HOPELESS
from mer_search.study.rebuild import final

SCORES = {"uf1": 0.5, "uar": 0.6, "accuracy": 0.7}
Search = Callable[..., Ledger]


def book_of(ledger: Ledger, trials: int, heard: list[News] | None = None) -> Book:
    tell = heard.append if heard is not None else (lambda news: None)
    return Book(stored(ledger)[0], ledger, read_protocol(ledger), trials=trials, tell=tell)


def finish(book: Book, number: int, uf1: float = 0.5) -> None:
    for index in range(len(book.protocol.folds.blocks)):
        book.block(number, index, {**SCORES, "uf1": uf1}, seconds=1.5)


@pytest.fixture
def empty(invented_search: Search) -> Ledger:
    """A search without trials."""
    ledger = invented_search("empty", states=("COMPLETE",))
    for file in sorted(Path(ledger.root, "trials").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    return ledger


def test_a_trial_is_in_the_ledger_before_it_starts_and_after_each_block(empty: Ledger) -> None:
    heard: list[News] = []
    book = book_of(empty, 2, heard)
    record = book.next()
    assert record is not None
    assert empty.trial(0).state == "RUNNING"
    assert book.block(0, 0, SCORES, seconds=1.5)
    assert empty.trial(0).values == (0.5,)
    for index in (1, 2):
        assert book.block(0, index, SCORES, seconds=1.5)
    assert not book.block(0, 3, {**SCORES, "uf1": 0.8}, seconds=1.5)
    ended = empty.trial(0)
    assert (ended.state, ended.values, ended.seconds) == ("COMPLETE", (0.5, 0.5, 0.5, 0.8), 6.0)
    assert [news.folds_done for news in heard] == [0, 1, 2, 4, 6]
    assert book.proposals.study.trials[0].value == 0.8


def test_the_budget_counts_earlier_trials(invented_search: Search) -> None:
    book = book_of(invented_search(), 8)  # six are there, one of them unfinished
    assert book.todo == 3
    numbers = [record.number for record in iter(book.next, None)]
    assert numbers == [5, 6, 7]


def test_reports_of_a_retried_trial_are_recognised(empty: Ledger) -> None:
    book = book_of(empty, 1)
    book.next()
    book.block(0, 0, SCORES, seconds=1.0)
    book.block(0, 0, {**SCORES, "uf1": 0.1}, seconds=1.0)
    assert empty.trial(0).values == (0.5,)


def test_a_trial_that_is_over_and_reports_again_is_only_stopped(empty: Ledger) -> None:
    from mer_search.search.searcher import hear

    book = book_of(empty, 1)
    book.next()
    finish(book, 0)
    before = empty.trial(0)
    again = {"block": 0, "seconds": 1.0, "notes": ["late"], **SCORES}
    assert not hear(book, 0, again)
    assert not hear(book, 0, {"failed": "its worker was lost"})
    assert empty.trial(0) == before


def test_a_lost_worker_ends_no_trial_until_it_is_lost_for_good(
    empty: Ledger, tmp_path: Path
) -> None:
    from mer_search.search.searcher import BlockScheduler, LedgerSearcher

    book = book_of(empty, 1)
    searcher, scheduler = LedgerSearcher(book, lambda: 1), BlockScheduler(book)
    config = searcher.suggest("tune-id")
    causes = tmp_path / "error.txt"
    causes.write_text("Failure # 1 (occurred at noon)\nrunning low on memory\n")
    trial = SimpleNamespace(config=config, error_file=str(causes))
    assert book.block(0, 0, SCORES, seconds=1.0)
    scheduler.on_trial_error(None, trial)  # Tune starts it again
    assert empty.trial(0).state == "RUNNING"
    assert book.block(0, 0, SCORES, seconds=1.0)
    assert book.block(0, 1, SCORES, seconds=1.0)
    with causes.open("a") as file:
        file.write("Failure # 2 (occurred at one)\nTraceback\nthe node went away\n")
    scheduler.on_trial_error(None, trial)
    searcher.on_trial_complete("tune-id", error=True)
    assert empty.trial(0).state == "FAILED"
    assert empty.trial(0).reason == "its worker was lost again and again: the node went away"


def test_a_worker_killed_for_memory_is_told_as_that() -> None:
    from mer_search.search.searcher import cause_of

    killed = "1 worker(s) were killed due to the node running low on memory. 4.8GB used / 5GB limit"
    told = f"The actor died.\n  {killed}\nTop 10 memory users: PID\n\nRefer to the documentation."
    assert cause_of(told) == killed
    assert cause_of("Traceback\nthe node went away\n\n") == "the node went away"
    assert cause_of("\n") == "no cause is known"


def test_failures_are_told_as_fail_and_many_of_them_end_the_search(empty: Ledger) -> None:
    book = book_of(empty, 9)
    for number in range(HOPELESS):
        assert not book.in_vain
        book.next()
        book.end(number, "FAILED", "no memory")
    assert book.in_vain
    assert book.next() is None
    assert empty.trial(1).reason == "no memory"
    assert {trial.state for trial in book.proposals.study.trials} == {TrialState.FAIL}


def test_one_finished_block_is_hope(empty: Ledger) -> None:
    book = book_of(empty, 9)
    book.next()
    finish(book, 0)
    for number in range(1, 1 + HOPELESS):
        book.next()
        book.end(number, "FAILED", "no memory")
    assert not book.in_vain


def test_a_stop_ends_after_the_running_block_and_the_next_launch_goes_on(empty: Ledger) -> None:
    book = book_of(empty, 4)
    book.next()
    empty.ask_to_stop()
    assert not book.block(0, 0, SCORES, seconds=1.0)
    book.leave(0)
    assert book.next() is None
    assert empty.trial(0).state == "RUNNING"
    empty.forget_stop()
    again = book_of(empty, 4)
    record = again.next()
    assert record is not None
    assert (record.number, record.values) == (0, (0.5,))


def test_an_interrupted_search_proposes_what_an_undisturbed_one_does(
    invented_search: Search, tmp_path: Path
) -> None:
    whole, halves = (
        invented_search(states=("FAILED",), store=tmp_path / name) for name in ("a", "b")
    )
    book = book_of(whole, 9)
    for record in iter(book.next, None):
        finish(book, record.number, uf1=record.params["train.learning_rate"])
    for trials in (4, 9):
        book = book_of(halves, trials)
        for record in iter(book.next, None):
            finish(book, record.number, uf1=record.params["train.learning_rate"])
    assert [r.params for r in whole.trials()] == [r.params for r in halves.trials()]


def test_a_repeated_proposal_is_answered_from_the_ledger(
    invented_search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = invented_search(states=("COMPLETE",), model={"lstm_size": {"choice": [16, 32]}},
                             train={"epochs": 3})  # fmt: skip
    record = ledger.trial(0)
    for number, size in enumerate((16, 32)):
        for index in range(4):
            ledger.write_block(number, index, ledger.block(0, index))
        params = {"model.lstm_size": size}
        domains = {"model.lstm_size": {"choice": [16, 32]}}
        ledger.write_trial(replace(record, number=number, params=params, distributions=domains))
    heard: list[News] = []
    book = book_of(ledger, 5, heard)
    assert book.next() is None
    states = [(each.state, each.reason[:24]) for each in ledger.trials()]
    assert states == [("COMPLETE", "")] * 2 + [("COMPLETE", "the same settings as tri")] * 3
    assert [news.folds_done for news in heard] == [6, 6, 6]
    assert ledger.trial(4).values == record.values
    assert len(book.proposals.study.trials) == 5
    answered = ledger.trial(4)
    both = space_file.from_dict({**stored(ledger)[0].as_file(),
                                 "evaluation": {"objective": ["uf1", "seconds"]}})  # fmt: skip
    assert answered.seconds == 0.0
    assert final(answered, both) == [record.values[-1], record.seconds]  # what it would have taken

    class Killed(BaseException):
        """As a signal that nothing catches."""

    def killed(*block: object) -> None:
        raise Killed

    monkeypatch.setattr(Ledger, "write_block", killed)
    with pytest.raises(Killed):
        book_of(ledger, 6).next()
    monkeypatch.undo()
    assert [each.number for each in iter(book_of(ledger, 6).next, None)] == [5]  # it goes on


def test_a_stop_is_heard_between_answers(invented_search: Search) -> None:
    ledger = invented_search(states=("COMPLETE",))
    book = book_of(ledger, 5)
    ledger.ask_to_stop()
    assert book._propose() is None
    assert book.left == 4


def test_racing_stops_a_hopeless_trial_and_tells_why(invented_search: Search) -> None:
    ledger = invented_search(
        states=("COMPLETE", "COMPLETE", "RUNNING"), search={"racing": {"rule": "predictive"}}
    )
    protocol = read_protocol(ledger)
    for number in (0, 1):  # an incumbent that is always right
        for index in range(4):
            block = ledger.block(number, index)
            ledger.write_block(number, index, replace(block, probs=exact(protocol, block.keys)))
    for index in range(2):
        block = ledger.block(0, index)
        shifted = np.roll(exact(protocol, block.keys), 1, axis=1)
        ledger.write_block(2, index, replace(block, probs=shifted))
    book = book_of(ledger, 3)
    book.next()
    assert not book.block(2, 1, {**SCORES, "uf1": 0.0}, seconds=1.0)
    record = ledger.trial(2)
    assert record.state == "STOPPED"
    assert "chance 0.00 of ending above the incumbent after 2 of 6 folds" in record.reason
    assert book.proposals.study.trials[2].state is TrialState.PRUNED


def test_a_driver_killed_before_a_verdict_gives_it_after_the_relaunch(
    invented_search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = invented_search(
        states=("COMPLETE", "COMPLETE", "RUNNING"), search={"racing": {"rule": "asha"}}
    )
    protocol, block = read_protocol(ledger), ledger.block(0, 1)
    wrong = np.roll(exact(protocol, block.keys), 1, axis=1)
    ledger.write_block(2, 1, replace(block, probs=wrong))
    book = book_of(ledger, 3)
    book.next()
    monkeypatch.setattr(book.standings, "judge", lambda number: 1 / 0)  # dies at this moment
    with pytest.raises(ZeroDivisionError):
        book.block(2, 1, {**SCORES, "uf1": 0.0}, seconds=1.0)
    again = book_of(ledger, 3)
    again.next()
    assert again.block(2, 0, SCORES, seconds=1.0)
    assert not again.block(2, 1, {**SCORES, "uf1": 0.0}, seconds=1.0)
    record = ledger.trial(2)
    assert record.state == "STOPPED"
    assert record.reason.startswith("place 2 of 3 on 2 folds")
    assert 0.0 <= record.sampler["forecast"] <= 1.0  # what gp is told


def test_a_planned_trial_does_not_begin_a_block_once_the_search_ends(empty: Ledger) -> None:
    book = book_of(empty, 2)
    book.next()
    plan = {"plan/width": 2, "plan/wanted": 2, "told": "2 folds at once"}
    assert hear(book, 0, plan)
    empty.ask_to_stop()
    assert not hear(book, 0, plan)
    assert empty.trial(0).state == "RUNNING"


def second_chances_of(ledger: Ledger, trials: int, chances: int, heard: list[str]) -> Book:
    """The book of a launch that asks for so many."""
    known = stored(ledger)[0]
    racing = known.search.racing.model_copy(update={"second_chances": chances})
    search = known.search.model_copy(update={"racing": racing})
    return Book(replace(known, search=search), ledger, read_protocol(ledger), trials=trials,
                say=heard.append)  # fmt: skip


def test_the_most_promising_stopped_trials_get_their_folds_at_the_end(
    invented_search: Search,
) -> None:
    ledger = invented_search(
        states=("COMPLETE", "STOPPED", "STOPPED", "RUNNING"), search={"racing": {"rule": "asha"}}
    )
    protocol, block = read_protocol(ledger), ledger.block(1, 0)
    wrong, right = np.roll(exact(protocol, block.keys), 1, axis=1), exact(protocol, block.keys)
    ledger.write_block(1, 0, replace(block, probs=wrong))
    ledger.write_block(2, 0, replace(block, probs=right))
    heard: list[str] = []
    book = second_chances_of(ledger, 4, 1, heard)
    assert (book.todo, book.chances) == (1, 1)
    running = book.next()
    assert running is not None
    assert running.number == 3
    assert (book.next(), book.waits) == (None, True)  # the one that runs may be stopped as well
    more = second_chances_of(ledger, 4, 2, heard)
    assert [each.number for each in iter(more.next, None)] == [3, 2]  # and gets the other chance
    assert (more.waits, more.chances) == (True, 1)
    ledger.write_trial(replace(ledger.trial(2), state="STOPPED", sampler={}, notes=()))
    book.end(3, "FAILED", "no memory")
    second = book.next()
    assert second is not None
    assert (second.number, second.state, second.sampler) == (2, "RUNNING", {"second_chance": 1})
    assert heard[-1].startswith("trial 2: stopped after 1 folds (")
    assert (book.next(), book.waits, book.chances) == (None, False, 0)
    book.block(2, 0, SCORES, seconds=0.0)  # from the ledger, and not judged again
    assert book.block(2, 1, {**SCORES, "uf1": 0.0}, seconds=1.0)
    book.leave(2)

    again = second_chances_of(ledger, 4, 1, heard)  # interrupted: the same one goes on
    record = again.next()
    assert record is not None
    assert record.number == 2
    for index in range(1, 4):
        ledger.write_block(2, index, ledger.block(0, index))
    finish(again, 2, uf1=0.9)
    assert again.next() is None
    ended = ledger.trial(2)
    assert (ended.state, len(ended.values)) == ("COMPLETE", 4)
    assert "then given a second chance" in ended.notes[0]
    assert ledger.trial(1).state == "STOPPED"
    assert second_chances_of(ledger, 4, 1, heard).chances == 0
    assert second_chances_of(ledger, 4, 2, heard).chances == 1
    whole = second_chances_of(ledger, 5, 0, heard)
    states = [trial.state for trial in whole.proposals.study.trials]
    assert states[1:3] == [TrialState.PRUNED, TrialState.COMPLETE]


def test_equal_settings_get_one_second_chance(invented_search: Search) -> None:
    ledger = invented_search(
        states=("COMPLETE", "STOPPED", "STOPPED", "STOPPED"), search={"racing": {"rule": "asha"}}
    )
    for number, like in ((2, 1), (3, 0)):
        record, same = ledger.trial(number), ledger.trial(like)
        record = replace(record, params=same.params, distributions=same.distributions)
        ledger.write_trial(record)
    book = second_chances_of(ledger, 4, 3, [])
    assert book.chances == 1
    assert [each.number for each in iter(book.next, None)] == [1]


def test_a_search_told_as_pruned_is_not_told_twice(invented_search: Search) -> None:
    ledger = invented_search(
        states=("COMPLETE", "COMPLETE", "RUNNING"), search={"racing": {"rule": "asha"}}
    )
    book = second_chances_of(ledger, 3, 1, [])
    book.next()
    book.end(2, "STOPPED", "place 3 of 3")
    second = book.next()
    assert second is not None
    finish(book, second.number, uf1=0.9)
    assert book.proposals.study.trials[2].state is TrialState.PRUNED
    assert book.proposals.records[2].state == "COMPLETE"


def test_a_finished_record_without_values_is_damaged(invented_search: Search) -> None:
    ledger = invented_search(states=("COMPLETE", "COMPLETE"))
    ledger.write_trial(replace(ledger.trial(1), values=()))
    book = book_of(ledger, 3)
    assert [record.number for record in iter(book.next, None)] == [2]
    record = ledger.trials()[1]
    assert record.state == "FAILED"
    assert record.reason.endswith("trials/000001/trial.json: COMPLETE, but `values` is empty")
    assert book.proposals.study.trials[1].state is TrialState.FAIL


def exact(protocol: Protocol, keys: tuple[str, ...]) -> Any:
    """Probabilities 1 for the true class."""
    place = {key: row for row, key in enumerate(protocol.keys)}
    return np.eye(3, dtype=np.float32)[protocol.label[[place[key] for key in keys]]]


def test_what_a_reader_should_know_of_a_trial_is_said_once_and_kept(empty: Ledger) -> None:
    said: list[str] = []
    known = stored(empty)[0]
    book = Book(known, empty, read_protocol(empty), trials=1, say=said.append)
    book.next()
    for index in range(2):
        book.note(0, "memory ran out on cpu; went on with 2 folds at once")
        book.block(0, index, SCORES, seconds=1.0)
    assert said == ["trial 0: memory ran out on cpu; went on with 2 folds at once"]
    assert empty.trial(0).notes == ("memory ran out on cpu; went on with 2 folds at once",)
