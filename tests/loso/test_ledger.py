"""Records are complete or absent, on the local disk and on any other filesystem."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mer_search.errors import DamagedRecord
from mer_search.loso.ledger import FoldBlock, Ledger, TrialRecord, searches


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "runs")
    return f"memory://{tmp_path.name}"  # the memory filesystem lives as long as the process


@pytest.fixture
def ledger(store: str) -> Ledger:
    return Ledger(store, "demo")


def block(seed: int = 0) -> FoldBlock:
    probs = np.random.default_rng(seed).random((3, 5), dtype=np.float32)
    maps = {"temporal": np.full((3, 4), 0.25, np.float16)}
    return FoldBlock(("a/1/x", "a/1/y", "a/2/z"), probs, seed, 1.5, 100.0, maps)


def trial(number: int = 0) -> TrialRecord:
    return TrialRecord(number, "RUNNING", {"model.layers": 1}, {"model.layers": {"int": [1, 2]}})


def path(ledger: Ledger, name: str) -> str:
    return f"{ledger.root}/{name}"


def test_a_search_exists_once_its_file_is_there(ledger: Ledger) -> None:
    assert not ledger.exists()
    assert searches(ledger.store) == []
    ledger.create({"name": "demo"}, {"blocks": [[0, 2]]})
    assert ledger.exists()
    assert searches(ledger.store) == ["demo"]
    assert ledger.search() == {"format": 1, "name": "demo"}
    assert ledger.folds()["blocks"] == [[0, 2]]


def test_trials_and_blocks_come_back_equal(ledger: Ledger) -> None:
    ledger.write_trial(trial(3))
    ledger.write_block(3, 1, block())
    told = replace(trial(3), notes=("no GPU",), memory={"width": 2, "folds": 4})
    ended = told.ended("COMPLETE", values=(0.5, 0.6))
    ledger.write_trial(ended)
    assert ledger.trials() == [ended]
    found, damaged = ledger.blocks(3)
    assert damaged == []
    assert list(found) == [1]
    assert found[1].keys == block().keys
    assert (found[1].seed, found[1].seconds, found[1].finished) == (0, 1.5, 100.0)
    np.testing.assert_array_equal(found[1].probs, block().probs)
    np.testing.assert_array_equal(found[1].maps["temporal"], block().maps["temporal"])


@pytest.mark.parametrize("cut", [0, 1, 20, 200, -1])
def test_a_truncated_block_is_named_and_kept(ledger: Ledger, cut: int) -> None:
    ledger.write_trial(trial())
    ledger.write_block(0, 0, block())
    ledger.write_block(0, 1, block())
    fs = ledger._fs
    name = path(ledger, "trials/000000/block-01.npz")
    fs.pipe_file(name, fs.cat_file(name)[:cut])
    found, damaged = ledger.blocks(0)
    assert list(found) == [0]
    assert len(damaged) == 1
    assert "block-01.npz: unreadable" in damaged[0]
    assert fs.exists(name)


def test_flipped_bits_in_the_probabilities_are_seen(ledger: Ledger) -> None:
    ledger.write_block(0, 0, block())
    name = path(ledger, "trials/000000/block-00.npz")
    content = bytearray(ledger._fs.cat_file(name))
    place = content.find(block().probs.tobytes())
    content[place] ^= 1
    ledger._fs.pipe_file(name, bytes(content))
    with pytest.raises(DamagedRecord, match=r"block-00\.npz: unreadable"):
        ledger.block(0, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"format": 1, "numb', "unreadable"),
        (b'{"format": 2}', "format 2 is not 1"),
        (b"[]", "format None is not 1"),
        (b'{"format": 1}', "a field is missing"),
    ],
)
def test_a_damaged_trial_keeps_its_number_as_failed(
    ledger: Ledger, content: bytes, message: str
) -> None:
    ledger.write_trial(trial(0))
    ledger.write_trial(trial(1))
    ledger._fs.pipe_file(path(ledger, "trials/000001/trial.json"), content)
    with pytest.raises(DamagedRecord, match=message):
        ledger.trial(1)
    kept = ledger.trials()
    assert [(each.number, each.state) for each in kept] == [(0, "RUNNING"), (1, "FAILED")]
    assert message in kept[1].reason


def test_an_unknown_state_is_refused(ledger: Ledger) -> None:
    ledger.write_trial(trial(0))
    name = path(ledger, "trials/000000/trial.json")
    record = json.loads(ledger._fs.cat_file(name))
    ledger._fs.pipe_file(name, json.dumps({**record, "state": "LOST"}).encode())
    with pytest.raises(DamagedRecord, match="state 'LOST' of 0"):
        ledger.trial(0)


def test_nothing_half_written_stays_under_the_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(str(tmp_path), "demo")
    ledger.write_trial(trial(0))

    def fails(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("mer_search.loso.ledger.os.fsync", fails)
    with pytest.raises(OSError, match="no space left"):
        ledger.write_block(0, 0, block())
    assert ledger.blocks(0) == ({}, [])
