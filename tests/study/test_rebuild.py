"""A study rebuilt from the ledger goes on as if it had never been interrupted."""

from dataclasses import replace
from typing import Any

import pytest
import small_study
from optuna.trial import TrialState

from mer_search.experiment import Experiment
from mer_search.loso.ledger import TrialRecord
from mer_search.study.rebuild import Proposals


def experiment(sampler: str = "tpe") -> Experiment:
    return small_study.experiment(
        {"sampler": sampler},
        model={
            "attention": {"choice": ["none", "temporal"]},
            "attention_size": {"choice": [8, 16], "when": {"attention": ["temporal"]}},
            "lstm_size": {"int": [8, 64], "step": 8},
        },
        train={"learning_rate": {"float": [1e-4, 1e-2], "log": True}},
    )


def run(proposals: Proposals, trials: int) -> list[TrialRecord]:
    def worth(params: dict[str, Any]) -> float:
        return float(params["model.lstm_size"] / 64 - 100 * params["train.learning_rate"])

    return small_study.run(proposals, trials, worth=worth)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_interrupted_equals_undisturbed(sampler: str) -> None:
    whole = run(Proposals(experiment(sampler)), 25)
    first = run(Proposals(experiment(sampler)), 13)
    rest = run(Proposals(experiment(sampler), first), 12)
    assert [each.params for each in first + rest] == [each.params for each in whole]
    assert len({str(each.params) for each in whole}) > 20


def test_conditional_parameters_are_left_out_where_they_do_not_matter() -> None:
    for record in run(Proposals(experiment()), 20):
        temporal = record.params["model.attention"] == "temporal"
        assert ("model.attention_size" in record.params) == temporal


def test_states_and_intermediate_values_are_told_truthfully() -> None:
    proposals = Proposals(experiment())
    records: list[TrialRecord] = []
    outcomes: list[dict[str, Any]] = [
        {"state": "COMPLETE", "values": (0.1, 0.4)},
        {"state": "STOPPED", "values": (0.2,)},
        {"state": "FAILED", "values": (), "reason": "out of memory"},
    ]
    for outcome in outcomes:
        number, params, distributions = proposals.ask()
        records.append(TrialRecord(number, "RUNNING", params, distributions))
        records[-1] = replace(records[-1], **outcome)
        proposals.tell(records[-1])
    for study in (proposals.study, Proposals(experiment(), records).study):
        states = [trial.state for trial in study.trials]
        assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
        assert study.trials[0].value == 0.4
        assert study.trials[1].intermediate_values == {0: 0.2}
        assert study.best_trial.number == 0


def test_a_gap_in_the_ledger_keeps_the_numbers() -> None:
    (record,) = run(Proposals(experiment()), 1)
    study = Proposals(experiment(), [replace(record, number=2)]).study
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]


def test_a_running_trial_is_told_after_a_rebuild() -> None:
    number, params, distributions = Proposals(experiment()).ask()
    running = TrialRecord(number, "RUNNING", params, distributions, started=1.0)
    proposals = Proposals(experiment(), [running])
    proposals.tell(running.ended("COMPLETE", values=(0.5,)))
    assert proposals.study.trials[0].value == 0.5


def test_trials_share_their_distributions() -> None:
    """Copies of them were most of what a trial of a long search kept in memory."""
    small = small_study.experiment(model={"lstm_size": {"int": [8, 64], "step": 8}})
    proposals = Proposals(small)
    records = small_study.run(proposals, 3)
    assert records[0].distributions is records[2].distributions
    rebuilt = Proposals(small, records).study.get_trials(deepcopy=False)
    assert rebuilt[0].distributions is rebuilt[2].distributions
    assert list(rebuilt[0].distributions) == ["model.lstm_size"]
