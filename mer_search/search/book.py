"""What a running search knows and decides, without Ray: which trial is next, what became of it.

The book is the only writer of trial records. Searcher and scheduler are thin shells round it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from mer_search.config import digest_of
from mer_search.experiment import Experiment
from mer_search.loso.ledger import Ledger, State, TrialRecord
from mer_search.loso.result import Protocol, read_result
from mer_search.search.standings import Standings
from mer_search.study.rebuild import Proposals

HOPELESS = 3
"""So many failures without a single finished block end the search: the next would fail as well."""


@dataclass(frozen=True)
class News:
    """Something changed: a trial began, finished a block, or ended. `scores` of its last block."""

    record: TrialRecord
    folds_done: int
    scores: dict[str, float]


class Book:
    """The trials of one launch, on top of those that the ledger holds already.

    Args:
        trials: how many the search shall have in all, those of earlier launches counted.
        tell: called with every News, in the driver's thread.
        say: called with a sentence about a trial that its record keeps as well.
    """

    def __init__(
        self,
        experiment: Experiment,
        ledger: Ledger,
        protocol: Protocol,
        *,
        trials: int,
        tell: Callable[[News], None] = lambda news: None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.experiment, self.ledger, self.protocol = experiment, ledger, protocol
        records = ledger.trials()
        self.proposals = Proposals(experiment, records)
        self.waiting = deque(record for record in records if record.state == "RUNNING")
        self.left = max(0, trials - len(records))
        evaluation, search = experiment.evaluation, experiment.search
        self.racing = search.racing.rule != "none"
        self.standings = Standings(
            protocol,
            search.racing.rule,
            evaluation.objective,
            search.racing.stop_below,
            search.seed,
        )
        for record in records:
            self._measure(record)
        self.done = {_key(each): each for each in reversed(records) if each.state == "COMPLETE"}
        self.running: dict[int, TrialRecord] = {}
        self.spent: dict[int, dict[int, float]] = {}
        self.tell, self.say = tell, say
        self.stopping = False  # nothing new is started
        self.signalled = False  # because of a signal
        self.reasons: list[str] = []
        self._blocks_seen = False

    @property
    def todo(self) -> int:
        """Trials that are still to be started."""
        return len(self.waiting) + self.left

    @property
    def hopeless(self) -> bool:
        """Every trial so far failed before its first block."""
        return len(self.reasons) >= HOPELESS and not self._blocks_seen

    def next(self) -> TrialRecord | None:
        """The next trial, written to the ledger; None when there is none to start."""
        if self.stopping or self.hopeless or self.ledger.stop_asked():
            self.stopping = True
            return None
        record = self.waiting.popleft() if self.waiting else self._propose()
        if record is None:
            return None
        self.running[record.number] = record
        self.spent[record.number] = {}
        self.tell(News(record, 0, {}))
        return record

    def _propose(self) -> TrialRecord | None:
        """A new trial, or None when there are enough; known answers are given from the ledger."""
        while self.left:
            self.left -= 1
            number, params, distributions = self.proposals.ask()
            record = TrialRecord(number, "RUNNING", params, distributions, started=time.time())
            known = self.done.get(_key(record))
            if known is None or not self._answer(record, known):
                self.ledger.write_trial(record)
                return record
        return None

    def _answer(self, record: TrialRecord, known: TrialRecord) -> bool:
        """Gives a repeated proposal the finished trial's predictions, if they are all readable."""
        blocks = read_result(self.ledger, known, self.protocol).blocks
        if len(blocks) < len(self.protocol.folds.blocks):
            return False
        for index, block in blocks.items():
            self.ledger.write_block(record.number, index, block)
        reason = f"the same settings as trial {known.number}, whose predictions these are"
        record = record.ended("COMPLETE", values=known.values, reason=reason, seconds=0.0)
        self.ledger.write_trial(record)
        self.proposals.tell(record)
        self._measure(record)
        scores = read_result(self.ledger, record, self.protocol).scores
        self.tell(News(record, len(self.protocol.folds), scores))
        return True

    def block(self, number: int, index: int, scores: dict[str, float], seconds: float) -> bool:
        """Block `index` of a trial is in the ledger. Returns whether the trial shall go on.

        A retried trial reports its blocks again: what is known already is not recorded twice.
        """
        record, bounds = self.running[number], self.protocol.folds.blocks
        self._blocks_seen = True
        self.spent[number][index] = seconds
        if new := index >= len(record.values):
            value = scores[self.experiment.evaluation.objective]
            record = replace(record, values=(*record.values, value))
            self.running[number] = record
            self.ledger.write_trial(record)
            self._measure(record)
        if index == len(bounds) - 1:
            self.end(number, "COMPLETE", scores=scores)
            return False
        if new and self.racing and (decision := self.standings.judge(number)).stop:
            self.end(number, "STOPPED", decision.reason, scores)
            return False
        self.tell(News(record, bounds[index][1], scores))
        self.stopping = self.stopping or self.ledger.stop_asked()
        return not self.stopping

    def note(self, number: int, sentence: str) -> None:
        """Something about a running trial that a reader of its numbers should know, told once."""
        record = self.running[number]
        if sentence not in record.notes:
            self.running[number] = replace(record, notes=(*record.notes, sentence))
            self.say(f"trial {number}: {sentence}")

    def end(
        self, number: int, state: State, reason: str = "", scores: dict[str, float] | None = None
    ) -> None:
        """A trial is over: in the ledger first, then in Optuna's study."""
        record = self.running.pop(number)
        seconds = sum(self.spent.pop(number).values())
        record = record.ended(state, values=record.values, reason=reason, seconds=seconds)
        self.ledger.write_trial(record)
        self.proposals.tell(record)
        if state == "COMPLETE":
            self.done.setdefault(_key(record), record)
        if state == "FAILED":
            self.reasons.append(reason)
        done = self.protocol.folds.blocks[len(record.values) - 1][1] if record.values else 0
        self.tell(News(record, done, scores or {}))

    def _measure(self, record: TrialRecord) -> None:
        """Brings the standings up to date with the ledger."""
        if self.racing:
            self.standings.add(read_result(self.ledger, record, self.protocol))

    def leave(self, number: int) -> None:
        """A trial is interrupted: its record stays RUNNING, the next launch goes on with it."""
        self.running.pop(number, None)


def _key(record: TrialRecord) -> str:
    """Equal for trials with equal settings."""
    return digest_of(record.params)
