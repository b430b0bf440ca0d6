"""Samplers and what guides them: grids, trials given by hand, constraints, several objectives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import TrialState
from small_study import experiment, run

from mer_search import space_file
from mer_search.errors import InputError
from mer_search.loso.ledger import TrialRecord
from mer_search.study.rebuild import Proposals, recalled
from mer_search.study.warm import carry_over


@pytest.mark.parametrize(
    "sampler", ["tpe", pytest.param("gp", marks=pytest.mark.slow), "random", "grid"]
)
def test_interrupted_equals_undisturbed(sampler: str) -> None:
    small = experiment({"sampler": sampler, "seed": 3})
    whole = run(Proposals(small), 14)
    first = run(Proposals(small), 8)
    rest = run(Proposals(small, first), 6)
    assert [each.params for each in first + rest] == [each.params for each in whole]


def test_a_grid_is_walked_once_and_ends() -> None:
    records = run(Proposals(experiment({"sampler": "grid"})), 99)
    points = {str(sorted(record.params.items())) for record in records}
    assert len(records) == len(points) == 9  # three sizes times none, temporal 8, temporal 16
    assert run(Proposals(experiment({"sampler": "grid"}), records), 5) == []
    other = run(Proposals(experiment({"sampler": "grid", "seed": 1})), 99)
    assert [each.params for each in other] != [each.params for each in records]


def test_a_grid_without_end_is_refused() -> None:
    with pytest.raises(InputError, match=r"search\.sampler grid needs finitely many"):
        experiment({"sampler": "grid"}, train={"learning_rate": {"float": [0.1, 0.2]}})
    wide = {"int": [1, 999]}
    with pytest.raises(InputError, match="has up to 11976012 points, the most is 100000; drop"):
        experiment({"sampler": "grid"}, train={"epochs": wide, "batch_size": wide})


def test_trials_given_by_hand_come_first_and_once() -> None:
    first = [{"model": {"attention": "none", "lstm_size": 24}}, {"model.lstm_size": 8}]
    small = experiment({"first": first})
    records = run(Proposals(small), 2)
    assert records[0].params == {"model.attention": "none", "model.lstm_size": 24}
    assert records[1].params["model.lstm_size"] == 8
    again = run(Proposals(small, records[:1]), 2)
    assert again[0].params["model.lstm_size"] == 8
    assert again[1].number == 2


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"model": {"lstm_size": 9}}, r"first\[0\]: model.lstm_size 9 is not among .*; choose"),
        ({"model": {"lstm_siz": 8}}, "model.lstm_siz is no setting; did you mean 'model.lstm_"),
        ({"train": {"epochs": 7}}, "train.epochs is 40 in this file, not 7; search it or drop it"),
    ],
)
def test_a_trial_by_hand_outside_the_space_is_refused(chosen: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        experiment({"first": [chosen]})


def test_gp_learns_the_forecast_of_stopped_trials_and_users_see_them_pruned() -> None:
    proposals = Proposals(experiment({"sampler": "gp"}))
    proposal = proposals.ask()
    assert proposal is not None
    number, params, drawn = proposal
    stopped = TrialRecord(number, "STOPPED", params, drawn, (0.2,), sampler={"forecast": 0.3})
    proposals.tell(stopped)
    for found in (proposals, Proposals(experiment({"sampler": "gp"}), [stopped])):
        found.ask()
        assert found.study.trials[0].state is TrialState.PRUNED
        assert found.study.trials[0].intermediate_values == {0: 0.2}
        assert found.guide.trials[0].state is TrialState.COMPLETE
        assert found.guide.trials[0].value == 0.3


def test_several_objectives_have_their_directions() -> None:
    both = experiment({}, evaluation={"objective": ["uf1", "seconds", "parameters"]})
    assert both.evaluation.objective == "uf1"
    assert both.search.racing.rule == "none"
    records = run(Proposals(both), 12)
    study = Proposals(both, records).study
    assert [direction.name for direction in study.directions] == [
        "MAXIMIZE", "MINIMIZE", "MINIMIZE"
    ]  # fmt: skip
    last = records[-1]
    assert study.trials[11].values == [last.values[-1], 5.0, last.measured["parameters"]]
    assert space_file.from_dict(both.as_file()) == both


@pytest.mark.parametrize(
    ("search", "objective", "told"),
    [
        ({"racing": {"rule": "median"}}, ["uf1", "seconds"], "'median' races for one objective"),
        ({"sampler": "gp"}, ["uf1", "seconds"], "'gp' takes one objective here; choose tpe"),
        ({}, ["uf1", "uf1"], "an objective is named twice; name each once"),
    ],
)
def test_what_several_objectives_exclude(
    search: dict[str, Any], objective: list[str], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        experiment(search, evaluation={"objective": objective})


def test_second_chances_without_a_race_are_refused() -> None:
    with pytest.raises(InputError, match="second_chances 3: they are for trials that a race"):
        experiment({"racing": {"second_chances": 3}})


def test_a_broken_constraint_steers_the_sampler() -> None:
    small = experiment({"constraints": ["parameters <= 2e3"]})
    assert small.most_parameters == 2000
    proposals = Proposals(small)
    records = []
    for _ in range(30):
        proposal = proposals.ask()
        assert proposal is not None
        number, params, drawn = proposal
        excess = params["model.lstm_size"] - 15.0
        record = TrialRecord(number, "STOPPED", params, drawn,
                             sampler={"constraints:parameters": excess})  # fmt: skip
        if excess <= 0:
            record = replace(record, state="COMPLETE", values=(0.5,))
        proposals.tell(record)
        records.append(record)
    late = [record.params["model.lstm_size"] for record in records[15:]]
    assert sum(size == 8 for size in late) > 7  # 5 by chance
    rebuilt = Proposals(small, records).study.trials
    assert [each.constraints for each in rebuilt] == [
        each.constraints for each in proposals.study.trials
    ]


@pytest.mark.parametrize("constraint", ["memory < 2", "parameters <= 1.2.3", "parameters <= 0"])
def test_an_unreadable_constraint_is_refused(constraint: str) -> None:
    with pytest.raises(InputError, match=rf"search.constraints: '{constraint}' is refused"):
        experiment({"constraints": [constraint]})


def test_gp_takes_no_constraints() -> None:
    with pytest.raises(InputError, match="'gp' cannot learn from a trial that breaks one"):
        experiment({"sampler": "gp", "constraints": ["parameters <= 2e3"]})


def test_a_warm_start_uses_points_of_the_new_space_and_says_what_it_drops() -> None:
    old = experiment({})
    records = run(Proposals(old), 12)
    records[0] = replace(records[0], state="STOPPED")
    new = experiment(
        {}, model={"attention": "none", "lstm_size": {"choice": [8, 16]}}, train={"seed": 4}
    )
    found = carry_over(old, records, new)
    kept = [each for each in records[1:] if each.params["model.attention"] == "none"
            and each.params["model.lstm_size"] < 24]  # fmt: skip
    assert [each.values for each in found.used] == [each.values[-1:] for each in kept]
    assert {tuple(each.params) for each in found.used} <= {("model.lstm_size",)}
    assert sum(found.dropped.values()) == 12 - len(kept)
    assert "1 dropped: without all folds" in found.told("old")
    proposals = Proposals(new, warm=found.used)
    run(proposals, 2)
    assert len(proposals.study.trials) == 2
    assert len(proposals.guide.trials) == 2 + len(kept)


def test_a_limited_history_is_the_best_and_the_latest_and_survives_interruptions() -> None:
    small = experiment({"sampler": "tpe", "seed": 3, "history": 20})
    proposals = Proposals(small)
    whole = run(proposals, 45)
    assert len(proposals.study.trials) == 45
    assert len(proposals.guide.trials) == 20 + 5  # those before 40, and those since
    for until in (31, 40):
        rest = run(Proposals(small, whole[:until]), 45 - until)
        assert [each.params for each in rest] == [each.params for each in whole[until:]]
    running = [replace(whole[3], state="RUNNING", values=()), *whole[4:40]]
    shown = [each.number for each in recalled([*whole[:3], *running], 40, 20)]
    best = sorted(whole[:3] + whole[4:40], key=lambda each: (-each.values[-1], each.number))[:5]
    latest = {*range(25, 40)}
    assert shown == sorted({3, *latest, *(each.number for each in best)})
