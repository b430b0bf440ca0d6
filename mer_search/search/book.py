"""What a running search knows and decides, without Ray: which trial is next, what became of it.

The book is the only writer of trial records. Searcher and scheduler are thin shells round it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from mer_search.config import digest_of
from mer_search.experiment import Experiment
from mer_search.loso.ledger import Ledger, State, TrialRecord
from mer_search.loso.result import Protocol, read_result
from mer_search.search.chances import SecondChances, is_second
from mer_search.search.limits import Limits
from mer_search.search.standings import Standings
from mer_search.search.storing import StoreFault, writing
from mer_search.search.troubles import Troubles
from mer_search.study.rebuild import Proposals


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
        warm: trials of earlier searches that guide the sampler.
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
        warm: Iterable[TrialRecord] = (),
        tell: Callable[[News], None] = lambda news: None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.experiment, self.ledger, self.protocol = experiment, ledger, protocol
        records = ledger.each(self._sound, ledger.trials())
        self.proposals = Proposals(experiment, records, warm=warm)
        self.limits = Limits.of(experiment.search, records, protocol.folds)
        self.troubles = Troubles()
        self.fault = self.limit = ""  # why nothing new is started, if not because of a wish
        self.waiting = deque(record for record in records if record.state == "RUNNING")
        self.left = max(0, trials - len(records))
        evaluation, search = experiment.evaluation, experiment.search
        self.racing = search.racing.rule != "none"
        self.standings = Standings(
            protocol,
            search.racing.rule,
            evaluation.objective,
            search.racing.stop_below,
            search.racing.keep,
            search.seed,
        )
        if self.racing:
            self.standings.remember(records, ledger)
        most = search.racing.second_chances if self.racing else 0
        self.second = SecondChances(most, self.proposals.records, self.standings, ledger)
        self.done = {_key(each): each for each in reversed(records) if each.state == "COMPLETE"}
        self.running: dict[int, TrialRecord] = {}
        self.lost: dict[int, str] = {}  # why the worker of a trial was lost last
        self.spent: dict[int, dict[int, float]] = {}
        self.tell, self.say = tell, say
        self.planned = False  # whether the user heard of a trial's memory
        self.stopping = False  # nothing new is started
        self.signalled = False  # because of a signal

    @property
    def todo(self) -> int:
        """Trials that are still to be started."""
        return len(self.waiting) + self.left

    @property
    def in_vain(self) -> bool:
        """The next trial would fail as well, or some did at the end and none has all its folds."""
        going_on = self.done or self.stopping or self.todo or self.running
        return self.troubles.hopeless or bool(self.troubles.reasons and not going_on)

    def next(self) -> TrialRecord | None:
        """The next trial, written to the ledger; None when there is none to start."""
        if self._shall_stop() or self.troubles.hopeless:
            self.stopping = True
            return None
        record = self.waiting.popleft() if self.waiting else self._propose()
        if record is None and (record := self._second_chance()) is None:
            return None
        self.running[record.number] = record
        self.spent[record.number] = {}
        self.tell(News(record, 0, {}))
        return record

    @property
    def chances(self) -> int:
        """Second chances that may still be given."""
        return self.second.left(more_may_stop=self.todo > 0 or self._in_race > 0)

    @property
    def waits(self) -> bool:
        """Whether there may be something to start once the running trials have ended."""
        return not self.stopping and self._in_race > 0 and self.chances > 0

    @property
    def _in_race(self) -> int:
        return sum(not is_second(record) for record in self.running.values())

    def _second_chance(self) -> TrialRecord | None:
        """A stopped trial that goes on, when no trial is left to propose.

        A chance is kept for each trial that is still in its race: it may be stopped as well.
        """
        if self.todo or self.chances <= self._in_race:
            return None
        if record := self.second.next(self.protocol.folds):
            self.proposals.records[record.number] = record
            self._write(record)
            self.say(f"trial {record.number}: {record.notes[-1]}")
        return record

    def _propose(self) -> TrialRecord | None:
        """A new trial, or None when there are enough; known answers are given from the ledger."""
        while self.left and not self._shall_stop():
            self.left -= 1
            if (proposal := self.proposals.ask()) is None:  # a grid has an end
                self.left = 0
                return None
            number, params, distributions = proposal
            record = TrialRecord(number, "RUNNING", params, distributions, started=time.time())
            known = self.done.get(_key(record))
            try:
                with writing(self.ledger):  # before any block of it
                    self.ledger.write_trial(record)
                if known is None or not self._answer(record, known):
                    return record
            except StoreFault as fault:
                self.give_up(str(fault))
                self.left += 1
                return None
        return None

    def _answer(self, record: TrialRecord, known: TrialRecord) -> bool:
        """Gives a repeated proposal the finished trial's predictions, if they are all readable."""
        blocks = read_result(self.ledger, known, self.protocol).blocks
        if len(blocks) < len(self.protocol.folds.blocks):
            return False
        reason = f"the same settings as trial {known.number}, whose predictions these are"
        record = record.ended("COMPLETE", values=known.values, reason=reason, seconds=0.0)
        record = replace(record, measured={"seconds": known.seconds, **known.measured})
        with writing(self.ledger):
            for index, block in blocks.items():
                self.ledger.write_block(record.number, index, block)
            self.ledger.write_trial(record)
        self.proposals.tell(record)
        self._measure(record)
        scores = read_result(self.ledger, record, self.protocol).scores
        self.tell(News(record, len(self.protocol.folds), scores))
        return True

    def block(
        self,
        number: int,
        index: int,
        scores: dict[str, float],
        seconds: float,
        measured: dict[str, float] | None = None,
    ) -> bool:
        """Block `index` of a trial is in the ledger. Returns whether the trial shall go on.

        A retried trial reports its blocks again: what is known already is not recorded twice.
        """
        record, bounds = self.running[number], self.protocol.folds.blocks
        self.troubles.block()
        self.spent[number][index] = seconds
        if new := index >= len(record.values):
            value = scores[self.experiment.evaluation.objective]
            record = replace(record, values=(*record.values, value), measured=measured or {})
            self.running[number] = record
            self.limits.folds += bounds[index][1] - bounds[index][0]
            self._measure(record)
        if index == len(bounds) - 1:
            self.end(number, "COMPLETE", scores=scores)
            return False
        races = new and self.racing and not is_second(record)
        if races and (decision := self.standings.judge(number)).stop:
            if decision.forecast is not None:
                known = {**record.sampler, "forecast": decision.forecast}
                self.running[number] = replace(record, sampler=known)
            self.end(number, "STOPPED", decision.reason, scores)
            return False
        if new:  # after it was judged: what a relaunch finds written is not judged again
            self._write(record)
        self.tell(News(record, bounds[index][1], scores))
        self.stopping = self._shall_stop()
        return not self.stopping

    def note(self, number: int, sentence: str) -> None:
        """Something about a running trial that a reader of its numbers should know, told once."""
        record = self.running[number]
        if sentence not in record.notes:
            self.running[number] = replace(record, notes=(*record.notes, sentence))
            self.say(f"trial {number}: {sentence}")

    def plan(self, number: int, memory: dict[str, float], told: str) -> None:
        """How a trial will be trained, before it is; said of the first, and where it matters.

        It does where memory makes banks narrower, and where folds take long (`seconds` of each).
        """
        record = replace(self.running[number], memory=memory)
        self.running[number] = record
        self._write(record)
        self.stopping = self._shall_stop()
        if not self.planned or memory["width"] < memory["wanted"] or "seconds" in memory:
            self.say(f"trial {number} trains {told}")
        self.planned = True

    def end(
        self, number: int, state: State, reason: str = "", scores: dict[str, float] | None = None
    ) -> None:
        """A trial is over: in the ledger first, then in Optuna's study."""
        record = self.running.pop(number)
        seconds = sum(self.spent.pop(number).values())
        record = record.ended(state, values=record.values, reason=reason, seconds=seconds)
        known = scores or {}
        beside = {str(n): known[n] for n in self.experiment.evaluation.beside if n in known}
        record = replace(record, measured={**record.measured, **beside})
        self._write(record)
        self.proposals.tell(record)
        if state == "COMPLETE":
            self.done.setdefault(_key(record), record)
        if state == "FAILED":
            self.troubles.failed(reason)
        done = self.protocol.folds.blocks[len(record.values) - 1][1] if record.values else 0
        self.tell(News(record, done, scores or {}))

    def breaks(self, number: int, measured: dict[str, float], excess: float, reason: str) -> None:
        """A trial breaks a constraint: it is not trained, and the sampler learns by how much."""
        told = {**self.running[number].sampler, "constraints:parameters": excess}
        self.running[number] = replace(self.running[number], measured=measured, sampler=told)
        self.end(number, "STOPPED", reason)

    def give_up(self, why: str) -> None:
        """Nothing new is started; trials that run stay RUNNING for the next launch."""
        self.fault, self.stopping = self.fault or why, True

    def _shall_stop(self) -> bool:
        if reached := self.limits.reached:
            self.limit, self.stopping = self.limit or reached, True
        return self.stopping or self.ledger.stop_asked()

    def _write(self, record: TrialRecord) -> None:
        """A record that cannot be written stays RUNNING on disk: its blocks are found again."""
        try:
            with writing(self.ledger):
                self.ledger.write_trial(record)
        except StoreFault as fault:
            self.give_up(str(fault))

    def _sound(self, record: TrialRecord) -> TrialRecord:
        """A finished trial whose blocks are not all whole goes on, to compute these again."""
        whole = len(self.protocol.folds.blocks)
        if record.state != "COMPLETE" or len(self.ledger.sound(record.number)) >= whole:
            return record
        return replace(record, state="RUNNING")

    def _measure(self, record: TrialRecord) -> None:
        """Brings the standings up to date with the ledger."""
        if self.racing:
            self.standings.add(read_result(self.ledger, record, self.protocol))

    def leave(self, number: int) -> None:
        """A trial is interrupted: its record stays RUNNING, the next launch goes on with it."""
        self.running.pop(number, None)
        self.spent.pop(number, None)


def _key(record: TrialRecord) -> str:
    """Equal for trials with equal settings."""
    return digest_of(record.params)
