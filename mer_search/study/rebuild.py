"""The ledger as an Optuna study in memory: the study is never stored, always rebuilt."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, OperationalError

from mer_search.errors import InputError
from mer_search.experiment import Domain, Experiment
from mer_search.loso.ledger import TrialRecord
from mer_search.study import space

STATES = {
    "RUNNING": TrialState.RUNNING,
    "COMPLETE": TrialState.COMPLETE,
    "STOPPED": TrialState.PRUNED,
    "FAILED": TrialState.FAIL,
}


class Proposals:
    """Asks Optuna for trials and tells it what became of them, by number.

    Attributes:
        study: what users see: the search's trials, stopped ones PRUNED.
        guide: what the sampler sees: the same study, or a private one where the sampler ignores
            PRUNED trials (gp gets their forecast as final score), earlier searches come first, or
            `search.history` limits it. A private one is made at the first ask.

    Args:
        warm: trials of earlier searches that are points of this one's space.
    """

    def __init__(
        self,
        experiment: Experiment,
        records: Iterable[TrialRecord] = (),
        *,
        warm: Iterable[TrialRecord] = (),
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.experiment, search = experiment, experiment.search
        self.study = self.guide = new_study(experiment)
        self.warm = tuple(warm)
        self.records: dict[int, TrialRecord] = {}
        self.private = bool(self.warm) or search.sampler == "gp" or search.history is not None
        self.place: dict[int, int] = {}
        self.drawn: dict[tuple[str, ...], dict[str, Any]] = {}  # one for all trials with these
        self.since: int | None = None
        self.queue = [*search.first, *(space.grid(experiment) if search.sampler == "grid" else ())]
        for record in sorted(records, key=lambda each: each.number):
            self._fill_up_to(record.number)
            self.records[record.number] = record
            self.study.add_trial(frozen(record, experiment))

    def ask(self) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
        """The next trial: its number, its parameters, and the domains they came from.

        None when a grid has no further point. Trials given by hand take the first numbers, so
        that a rebuilt study does not propose them again.
        """
        number, search = len(self.study.get_trials(deepcopy=False)), self.experiment.search
        if self.private:
            self._renew(number)
        if number < len(self.queue):
            self.guide.enqueue_trial(self.queue[number])
        elif search.sampler == "grid":
            return None
        self.guide.sampler = space.sampler(search.sampler, seed=search.seed, number=number)
        trial = self.guide.ask()
        params = space.suggest(trial, self.experiment)
        domains = {path: self.experiment.domains[path].as_file() for path in params}
        drawn = self.drawn.setdefault(tuple(params), domains)
        self.records[number] = record = TrialRecord(number, "RUNNING", params, drawn)
        if self.private:
            self.place[number] = trial.number
            self.study.add_trial(frozen(record, self.experiment))
        return number, params, drawn

    def tell(self, record: TrialRecord) -> None:
        """The outcome of a trial."""
        self.records[record.number] = record
        if self.study.get_trials(deepcopy=False)[record.number].state.is_finished():
            return  # it was stopped, and went on after the last proposal
        _tell(self.study, record.number, record, self.experiment)
        if record.number in self.place:
            _tell(self.guide, self.place[record.number], self._guiding(record), self.experiment)

    def _renew(self, number: int) -> None:
        """Makes the guide anew where trial `number` is the first of a new part of the history.

        The guide is a function of the trials before that part, so that a rebuilt one is equal.
        """
        most = self.experiment.search.history
        since = 0 if most is None else number - number % max(1, most // 2)
        if since == self.since:
            return
        self.since, self.place, self.guide = since, {}, new_study(self.experiment)
        for record in self.warm:
            self.guide.add_trial(frozen(record, self.experiment))
        records = [self.records[each] for each in sorted(self.records)]
        for record in records if most is None else recalled(records, since, most):
            self.place[record.number] = len(self.guide.get_trials(deepcopy=False))
            self.guide.add_trial(frozen(self._guiding(record), self.experiment))

    def _guiding(self, record: TrialRecord) -> TrialRecord:
        """A stopped trial as gp shall see it: finished with the score that was predicted."""
        forecast = record.sampler.get("forecast", record.values[-1] if record.values else None)
        if self.experiment.search.sampler != "gp" or record.state != "STOPPED" or forecast is None:
            return record
        return replace(record, state="COMPLETE", values=(*record.values, float(forecast)))

    def _fill_up_to(self, number: int) -> None:
        """Numbers are positions in an Optuna study: a gap in the ledger becomes failed trials."""
        while len(self.study.get_trials(deepcopy=False)) < number:
            self.study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))


def recalled(records: list[TrialRecord], since: int, most: int) -> list[TrialRecord]:
    """What a sampler with a limited history is shown: the best quarter of `most` and the latest
    three of the trials before number `since`, all later ones, and all that run."""
    ended = [each for each in records if each.number < since and each.state != "RUNNING"]
    finished = [each for each in ended if each.state == "COMPLETE"]
    best = sorted(finished, key=lambda each: (-each.values[-1], each.number))[: most // 4]
    kept = {each.number for each in [*best, *ended[max(0, len(ended) - (most - most // 4)) :]]}
    old = {each.number for each in ended} - kept
    return [each for each in records if each.number not in old]


def new_study(experiment: Experiment, **place: Any) -> optuna.Study:
    """An empty study with the directions of the search's objectives."""
    lower, higher = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
    smaller = ("seconds", "parameters")
    directions = [lower if name in smaller else higher for name in objectives(experiment)]
    return optuna.create_study(directions=directions, **place)


def objectives(experiment: Experiment) -> tuple[str, ...]:
    """Names of all objectives, the first of which ranks trials."""
    return (experiment.evaluation.objective, *experiment.evaluation.beside)


def final(record: TrialRecord, experiment: Experiment) -> list[float] | None:
    """A finished trial's values, one per objective; None for any other trial."""
    if record.state != "COMPLETE":
        return None
    known = {"seconds": record.seconds, **record.measured}  # what was answered took others' time
    return [record.values[-1], *(known[name] for name in experiment.evaluation.beside)]


def _tell(study: optuna.Study, number: int, record: TrialRecord, experiment: Experiment) -> None:
    storage = study._storage
    trial = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    for step, value in _curve(record, experiment).items():
        storage.set_trial_intermediate_value(trial, step, value)
    for key, attribute in record.sampler.items():
        storage.set_trial_system_attr(trial, key, attribute)
    study.tell(number, final(record, experiment), state=STATES[record.state])


def _curve(record: TrialRecord, experiment: Experiment) -> dict[int, float]:
    """Values by block; Optuna knows none where there are several objectives."""
    return {} if experiment.evaluation.beside else dict(enumerate(record.values))


def write_study(experiment: Experiment, records: Iterable[TrialRecord], url: str) -> int:
    """Writes the search as a study of its name into an Optuna database; returns its trials.

    A study that this wrote before is replaced: it is a copy of the ledger and nothing else.

    Raises:
        InputError: the address is no database, or another's study has this name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = experiment.name
    try:
        storage = optuna.storages.get_storage(url)
        if name in optuna.study.get_all_study_names(storage):
            if "mer.search" not in optuna.load_study(study_name=name, storage=storage).user_attrs:
                raise InputError(url, f"a study {name!r} is there and not ours; give another URL")
            optuna.delete_study(study_name=name, storage=storage)
        study = new_study(experiment, study_name=name, storage=storage)
    except (ArgumentError, OperationalError, ImportError) as fault:
        told = str(fault).splitlines()[0]
        raise InputError(url, f"is no database ({told}); write sqlite:///FILE.db") from fault
    study.set_user_attr("mer.search", name)
    with warnings.catch_warnings():  # a page shows the names; without them it says "Objective 0"
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(objectives(experiment)))
    trials = Proposals(experiment, records).study.get_trials(deepcopy=False)
    study.add_trials(trials)
    return len(trials)


def frozen(record: TrialRecord, experiment: Experiment) -> FrozenTrial:
    """One record as an Optuna trial."""
    state = STATES[record.state]
    return FrozenTrial(
        number=record.number,
        trial_id=record.number,
        state=state,
        value=None,
        values=final(record, experiment),
        datetime_start=datetime.fromtimestamp(record.started),
        datetime_complete=(
            datetime.fromtimestamp(record.started + record.seconds) if state.is_finished() else None
        ),
        params=dict(record.params),
        distributions=_distributions(json.dumps(record.distributions)),
        user_attrs={"reason": record.reason} if record.reason else {},
        system_attrs=dict(record.sampler),
        intermediate_values=_curve(record, experiment),
    )


class _Shared(dict[str, BaseDistribution]):
    """Distributions of many trials. Optuna copies every trial that it is given, but not these."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


@lru_cache
def _distributions(domains: str) -> _Shared:
    """Optuna's distributions of domains, given as the JSON of path -> domain."""
    parsed = {path: Domain.parse(raw) for path, raw in json.loads(domains).items()}
    return _Shared({path: space.distribution(domain) for path, domain in parsed.items()})
