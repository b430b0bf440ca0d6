"""The ledger as an Optuna study in memory: the study is never stored, always rebuilt."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import optuna
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
    """Asks Optuna for trials and tells it what became of them, by number."""

    def __init__(self, experiment: Experiment, records: Iterable[TrialRecord] = ()) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.experiment = experiment
        self.study = optuna.create_study(direction="maximize")
        for record in sorted(records, key=lambda each: each.number):
            self._fill_up_to(record.number)
            self.study.add_trial(frozen(record))

    def ask(self) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """The next trial: its number, its parameters, and the domains they came from."""
        number = len(self.study.get_trials(deepcopy=False))
        search = self.experiment.search
        self.study.sampler = space.sampler(search.sampler, seed=search.seed, number=number)
        trial = self.study.ask()
        params = space.suggest(trial, self.experiment)
        return number, params, {path: self.experiment.domains[path].as_file() for path in params}

    def tell(self, record: TrialRecord) -> None:
        """The outcome of a trial. A complete one without a finite value counts as failed."""
        state = STATES[record.state]
        complete = state is TrialState.COMPLETE
        self._report(record)
        value = record.values[-1] if complete else None
        self.study.tell(record.number, value, state=state)

    def _report(self, record: TrialRecord) -> None:
        storage, study = self.study._storage, self.study._study_id
        trial = storage.get_trial_id_from_study_id_trial_number(study, record.number)
        for step, value in enumerate(record.values):
            storage.set_trial_intermediate_value(trial, step, value)

    def _fill_up_to(self, number: int) -> None:
        """Numbers are positions in an Optuna study: a gap in the ledger becomes failed trials."""
        while len(self.study.get_trials(deepcopy=False)) < number:
            self.study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))


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
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    except (ArgumentError, OperationalError, ImportError) as fault:
        told = str(fault).splitlines()[0]
        raise InputError(url, f"is no database ({told}); write sqlite:///FILE.db") from fault
    study.set_user_attr("mer.search", name)
    study.set_metric_names([experiment.evaluation.objective])
    trials = Proposals(experiment, records).study.get_trials(deepcopy=False)
    study.add_trials(trials)
    return len(trials)


def frozen(record: TrialRecord) -> FrozenTrial:
    """One record as an Optuna trial."""
    state = STATES[record.state]
    domains = {path: Domain.parse(raw) for path, raw in record.distributions.items()}
    return FrozenTrial(
        number=record.number,
        trial_id=record.number,
        state=state,
        value=record.values[-1] if state is TrialState.COMPLETE else None,
        datetime_start=datetime.fromtimestamp(record.started),
        datetime_complete=(
            datetime.fromtimestamp(record.started + record.seconds) if state.is_finished() else None
        ),
        params=dict(record.params),
        distributions={path: space.distribution(domain) for path, domain in domains.items()},
        user_attrs={"reason": record.reason} if record.reason else {},
        system_attrs=dict(record.sampler),
        intermediate_values=dict(enumerate(record.values)),
    )
