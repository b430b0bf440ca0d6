"""The contract of `compare --json`, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mer_search.errors import InputError
from mer_search.loso.estimates import compare_searches, correct, holm, own_score
from mer_search.loso.ledger import Ledger
from mer_search.loso.metrics import SubjectCounts, chance_uf1, confusion, scores
from mer_search.loso.result import LosoResult, read_results, subject_counts
from mer_search.report.compare import compare
from mer_search.report.cost import nested_cost

Make = Callable[..., Ledger]
SCORES = {"uf1": float, "uar": float, "accuracy": float}


def finished(ledger: Ledger) -> list[LosoResult]:
    return [result for result in read_results(ledger) if result.complete]


def typed(document: dict[str, Any], types: dict[str, Any]) -> None:
    for name, kind in types.items():
        assert isinstance(document[name], kind), f"{name}: {document[name]!r}"


def test_the_document_of_one_search_is_the_contract(invented_search: Make) -> None:
    document = compare([invented_search()]).as_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    typed(document, {"search": str, "objective": str, "clips": int, "subjects": int,
                     "trials": list, "best": dict})  # fmt: skip
    for trial in document["trials"]:
        typed(trial, {"number": int, "state": str, "params": dict, "folds_done": int, "folds": int})
    best = document["best"]
    typed(best, {"number": int, "params": dict, "selected": dict, "corrected": dict})
    typed(best["selected"], {**SCORES, "interval": list})
    typed(best["corrected"], {"uf1": float, "uar": float, "interval": list, "level": float,
                              "method": str, "finished": int, "trials": int,
                              "caveats": list})  # fmt: skip
    assert best["nested"] is None
    assert document["clips"] == 30
    assert document["subjects"] == 6
    assert [trial["number"] for trial in document["trials"]] == list(range(6))


def test_best_and_its_estimate_are_those_of_the_finished_trials(invented_search: Make) -> None:
    ledger = invented_search()
    best, rows = compare([ledger]).as_json()["best"], finished(ledger)
    counts = subject_counts(rows)
    expected = correct(counts, objective="uf1", trials=6)
    assert best["number"] == rows[expected.trial].record.number
    own = own_score(counts, expected.trial)
    assert best["selected"]["uf1"] == pytest.approx(own.value)
    assert best["selected"]["interval"] == pytest.approx(own.interval)
    corrected = best["corrected"]
    assert {name: corrected[name] for name in SCORES} == pytest.approx(expected.corrected)
    assert corrected["interval"] == pytest.approx(expected.interval)
    assert (corrected["finished"], corrected["trials"], corrected["level"]) == (3, 6, 0.95)
    assert "3 finished of 6 trials" in corrected["caveats"][0]
    assert "optimistic" in best["selected"]["label"]


def test_the_objective_is_the_search_s_own(invented_search: Make) -> None:
    ledger = invented_search(evaluation={"objective": "accuracy"})
    document, rows = compare([ledger]).as_json(), finished(ledger)
    assert document["objective"] == "accuracy"
    assert document["best"]["selected"]["accuracy"] == max(r.scores["accuracy"] for r in rows)
    expected = correct(subject_counts(rows), objective="accuracy", trials=6)
    assert document["best"]["corrected"]["interval"] == pytest.approx(expected.interval)


def test_a_stopped_trial_never_wins_however_good_its_part(invented_search: Make) -> None:
    ledger = invented_search(states=("COMPLETE", "COMPLETE", *["RUNNING"] * 4, "STOPPED"))
    protocol = read_results(ledger)[0].protocol
    block = ledger.block(6, 0)
    truth = dict(zip(protocol.keys, protocol.label, strict=True))
    perfect = np.eye(3, dtype=np.float32)[[truth[key] for key in block.keys]]
    ledger.write_block(6, 0, replace(block, probs=perfect))
    document = compare([ledger]).as_json()
    part = document["trials"][6]
    assert part["partial"]
    assert part["accuracy"] == 1.0 > document["best"]["selected"]["accuracy"]
    assert document["best"]["number"] in (0, 1)
    assert compare([ledger]).searches[0].ranked[0].record.number in (0, 1)


def test_a_complete_trial_with_a_damaged_block_is_named_and_not_ranked(
    invented_search: Make,
) -> None:
    ledger = invented_search()
    broken = Path(ledger.root) / "trials/000003/block-02.npz"
    broken.write_bytes(b"torn")
    document = compare([ledger]).as_json()
    assert document["best"]["number"] != 3
    assert document["best"]["corrected"]["finished"] == 2
    assert document["trials"][3]["partial"]
    assert any(str(broken) in sentence for sentence in document["damaged"])


def test_scores_of_parts_are_pooled_over_what_is_done(invented_search: Make) -> None:
    ledger = invented_search()
    document, results = compare([ledger]).as_json(), read_results(ledger)
    known = ~np.isnan(results[2].probs[:, 0])
    expected = scores(results[2].probs[known], results[2].protocol.label[known])
    assert {name: document["trials"][2][name] for name in SCORES} == pytest.approx(expected)
    assert document["trials"][4]["uf1"] is None, "nothing was predicted"
    assert document["trials"][4]["reason"] == "out of memory"


def test_the_winner_is_told_by_class_data_set_and_subject(invented_search: Make) -> None:
    ledger = invented_search()
    document = compare([ledger]).as_json()
    best = document["best"]
    row = next(r for r in finished(ledger) if r.record.number == best["number"])
    guessed, label = row.probs.argmax(1), row.protocol.label
    table = confusion(label, guessed, 3)
    assert best["confusion"] == table.tolist()
    assert best["per_class"]["surprise"]["recall"] == pytest.approx(table[1, 1] / table[1].sum())
    assert best["datasets"]["toy"]["uf1"] == pytest.approx(best["selected"]["uf1"])
    assert sum(s["right"] for s in best["per_subject"]) == int((guessed == label).sum())
    shares = [s["right"] / s["clips"] for s in best["per_subject"]]
    assert shares == sorted(shares)
    expected = chance_uf1(table.sum(1) / 30, table.sum(0) / 30)
    assert document["chance"]["uf1"] == pytest.approx(expected)
    most = max(document["classes"], key=lambda name: document["classes"][name])
    assert document["majority"]["class"] == most
    assert document["majority"]["accuracy"] == pytest.approx(document["classes"][most] / 30)


@pytest.mark.parametrize("states", [(), ("RUNNING", "FAILED", "STOPPED")])
def test_without_a_finished_trial_there_is_no_best(
    invented_search: Make, states: tuple[str, ...]
) -> None:
    ledger = invented_search(states=states or ("RUNNING",))
    if not states:
        for file in sorted((Path(ledger.root) / "trials").rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
    document = compare([ledger]).as_json()
    assert document["best"] is None
    assert document["chance"] is None
    assert len(document["trials"]) == len(states)
    json.dumps(document, allow_nan=False)


def test_several_searches_are_compared_by_their_choices(invented_search: Make) -> None:
    names = ("first", "second", "third")
    counts = [("COMPLETE",) * n for n in (2, 4, 6)]
    ledgers = [invented_search(n, states=s) for n, s in zip(names, counts, strict=True)]
    document = compare(ledgers).as_json()
    json.dumps(document, allow_nan=False)
    assert [each["search"] for each in document["searches"]] == list(names)
    assert [(p["a"], p["b"]) for p in document["pairs"]] == [
        ("first", "second"), ("first", "third"), ("second", "third")
    ]  # fmt: skip
    tallies = [subject_counts(finished(ledger)) for ledger in ledgers]
    expected = [compare_searches(tallies[a], tallies[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    for pair, difference in zip(document["pairs"], expected, strict=True):
        assert pair["difference"] == pytest.approx(difference.value)
        assert pair["interval"] == pytest.approx(difference.interval)
    corrected = holm([difference.p for difference in expected])
    assert [pair["p_holm"] for pair in document["pairs"]] == pytest.approx(corrected)
    union = document["union"]
    whole = SubjectCounts(np.concatenate([t.hits for t in tallies]),
                          np.concatenate([t.predicted for t in tallies]),
                          tallies[0].true)  # fmt: skip
    best = correct(whole, trials=12)
    assert union["corrected"]["uf1"] == pytest.approx(best.corrected["uf1"])
    assert (union["corrected"]["finished"], union["corrected"]["trials"]) == (12, 12)
    owner = next(s for s in document["searches"] if s["search"] == union["search"])
    assert owner["trials"][union["number"]]["uf1"] == pytest.approx(union["selected"]["uf1"])


def test_a_search_without_finished_trials_stands_beside_the_others(invented_search: Make) -> None:
    ledgers = [invented_search("first"), invented_search("empty", states=("RUNNING",))]
    document = compare(ledgers).as_json()
    assert document["pairs"] == []
    assert document["union"]["search"] == "first"


def test_other_data_is_refused_with_all_differences(
    invented_search: Make, of_other_data: Make
) -> None:
    first = invented_search("first")
    clips = first.folds()["clips"]
    key = next(iter(clips))
    other = {"surprise": "others"}.get(clips[key], "surprise")
    second = of_other_data("second", clips={**clips, key: other})
    third = of_other_data("third", classes=["others", "happiness", "surprise"])
    with pytest.raises(InputError, match="only searches on the same data can be compared") as told:
        compare([first, second, third])
    assert [fault.split(":")[0] for fault in told.value.faults] == [
        "first and second", "first and second", "first and third", "first and third"
    ]  # fmt: skip
    text = str(told.value)
    assert f"data digests {'0' * 16} and {'1' * 16} differ" in text
    assert f"1 clips have other labels ({key})" in text
    assert "classes differ (happiness, surprise, others against others," in text


def test_other_clips_and_objectives_are_refused(invented_search: Make) -> None:
    first = invented_search("first")
    second = invented_search("second", evaluation={"objective": "uar"})
    folds = second.folds()
    key = next(iter(folds["clips"]))
    second.create(second.search(), {**folds, "clips": {
        k: v for k, v in folds["clips"].items() if k != key}})  # fmt: skip
    with pytest.raises(InputError, match="objectives uf1 and uar differ") as told:
        compare([first, second])
    assert f"1 clips are in one of them only ({key})" in str(told.value)


def test_unknown_searches_are_all_named_with_the_nearest(invented_search: Make) -> None:
    store = invented_search("attention").store
    with pytest.raises(InputError, match="did you mean 'attention'") as told:
        compare([Ledger(store, "atention"), Ledger(store, "xyz")])
    assert "holds no search 'xyz'; choose from attention" in str(told.value)
    with pytest.raises(InputError, match="launch a search first"):
        compare([Ledger(f"{store}/nothing", "a")])
    with pytest.raises(InputError, match="no search is named; give one or more names"):
        compare([])


@pytest.mark.parametrize(("folds", "inner"), [("loso", 4), ("group-3", 3)])
def test_the_price_of_nested_is_folds_times_trials_times_groups(
    invented_search: Make, folds: str, inner: int
) -> None:
    search = compare([invented_search(evaluation={"folds": folds})]).searches[0]
    cost = nested_cost(search)
    assert (cost.folds, cost.trials, cost.outer_groups) == (inner, 6, 5)
    assert cost.trainings == inner * 6 * 5
    blocks = [block for result in search.results for block in result.blocks.values()]
    each = 0.5 * len(blocks) / sum(result.folds_done for result in search.results)
    assert cost.hours == pytest.approx(cost.trainings * each / 3600)
