"""Ray Tune's view of the book: a Searcher that proposes, a scheduler that hears of every block.

Optuna is asked and told through `mer_search.study`, so that stopped trials are told as PRUNED and
failed ones as FAIL; Tune's own OptunaSearch tells both as COMPLETE.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from mer_search.loso.metrics import OBJECTIVES
from mer_search.search.book import Book
from mer_search.search.tune_repairs import forget, survive

LOW_MEMORY = "running low on memory"
METRIC = "block"  # Tune insists on a metric; no decision is made on it


class LedgerSearcher(Searcher):
    """Proposes the unfinished trials of the ledger first, then new ones.

    Args:
        slots: how many trials may run now; asked again each time, since clusters grow.
    """

    def __init__(self, book: Book, slots: Callable[[], int]) -> None:
        super().__init__(metric=METRIC, mode="max")
        self.book, self.slots = book, slots
        self.numbers: dict[str, int] = {}

    def suggest(  # type: ignore[override]  # FINISHED is a string, which ray does not declare
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """`{"number", "params"}`, None for "not now", or FINISHED."""
        if len(self.book.running) >= self.slots():
            return None
        record = self.book.next()
        if record is None:
            return None if self.book.waits else str(Searcher.FINISHED)
        self.numbers[trial_id] = record.number
        return {"number": record.number, "params": record.params}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The last result of a trial comes here only; what is not over then was interrupted."""
        number = self.numbers.pop(trial_id, None)
        if number is None or number not in self.book.running:
            return
        if result:
            hear(self.book, number, result)
        elif error:  # lost more often than `driver.RETRIES` allows
            cause = self.book.lost.get(number, "no cause is known")
            self.book.end(number, "FAILED", f"its worker was lost again and again: {cause}")
        self.book.leave(number)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it is given, and never restores it here."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""


class BlockScheduler(FIFOScheduler):
    """Passes each finished block to the book, which says whether the trial goes on."""

    _supports_buffered_results = False

    def __init__(self, book: Book) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.book = book

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as above."""
        return {}

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A worker was lost. Tune says so at every loss, before it starts the trial again, and at
        the last one, which the searcher hears of as well."""
        # Not `trial.get_error()`: it looks where Tune's snapshots go, and there are none.
        told = Path(trial.error_file).read_text()
        self.book.lost[int(trial.config["number"])] = cause_of(told.rsplit("Failure #", 1)[-1])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """CONTINUE or STOP."""
        go_on = hear(self.book, int(trial.config["number"]), result)
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first that waits. Tune calls this in each step, before it hears of any trial."""
        survive(tune_controller._tune_controller)
        forget(tune_controller._tune_controller)
        return super().choose_trial_to_run(tune_controller)


def cause_of(told: str) -> str:
    """The sentence of Ray's that says why a worker was lost.

    It is the last one, but for a worker that was killed for lack of memory: there, pages of
    statistics and advice follow it.
    """
    lines = [line.strip() for line in told.splitlines() if line.strip()] or ["no cause is known"]
    return next((line for line in lines if LOW_MEMORY in line), lines[-1])


def hear(book: Book, number: int, result: dict[str, Any]) -> bool:
    """Passes what a worker reported to the book. Returns whether the trial shall go on.

    Tune starts a trial again whose worker was lost just after its last report: it is over already.
    """
    if number not in book.running:
        return False
    for note in result.get("notes", ()):
        book.note(number, str(note))
    if "store" in result:  # the trial is whole, the disk is not
        book.give_up(str(result["store"]))
        return False
    measured = {"parameters": float(result["parameters"])} if "parameters" in result else {}
    if "broken" in result:
        book.breaks(number, measured, float(result["excess"]), str(result["broken"]))
        return False
    if "told" in result:  # Tune has flattened what the worker gave
        flat = {k.removeprefix("plan/"): v for k, v in result.items() if k.startswith("plan/")}
        plan = {k: float(v) if k == "seconds" else int(v) for k, v in flat.items()}
        book.plan(number, plan, str(result["told"]))
        return not book.stopping
    if "failed" in result:
        book.end(number, "FAILED", str(result["failed"]))
        return False
    if "block" not in result:
        return True
    flat = {key.removeprefix("scores/"): value for key, value in result.items()}
    scores = {name: float(flat[name]) for name in OBJECTIVES}
    return book.block(number, int(result["block"]), scores, float(result["seconds"]), measured)
