"""Results are read back from the ledger as they were written, and foreign blocks are named."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mer_search.errors import DamagedRecord
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import Protocol, read_protocol, read_results


def test_a_protocol_comes_back_equal(invented_search: Callable[..., Ledger]) -> None:
    ledger = invented_search()
    protocol = read_protocol(ledger)
    again = Protocol.from_json(protocol.to_json())
    assert again.keys == protocol.keys
    assert again.classes == ("happiness", "surprise", "others")
    np.testing.assert_array_equal(again.label, protocol.label)
    np.testing.assert_array_equal(again.folds.held_out, protocol.folds.held_out)


def test_results_tell_state_folds_and_scores(invented_search: Callable[..., Ledger]) -> None:
    results = read_results(invented_search())
    assert [r.record.state for r in results] == [
        "COMPLETE", "COMPLETE", "STOPPED", "COMPLETE", "FAILED", "RUNNING",
    ]  # fmt: skip
    assert [r.complete for r in results] == [True, True, False, True, False, False]
    assert results[0].folds_done == 6
    assert results[4].scores == {}
    assert np.isnan(results[2].probs).any()
    assert results[3].curve()[-1][:2] == (6, results[3].scores)
    assert [folds for folds, _, _ in results[2].curve()] == [1]


def test_a_block_of_another_search_is_named_not_used(
    invented_search: Callable[..., Ledger],
) -> None:
    ledger = invented_search()
    block = ledger.block(0, 0)
    ledger.write_block(0, 1, replace(block, keys=tuple(f"{key}x" for key in block.keys)))
    (first, *_) = read_results(ledger)
    assert sorted(first.blocks) == [0, 2, 3]
    assert "trial 0, block 1" in first.damaged[0]
    assert not first.complete


def test_an_unreadable_protocol_is_told(invented_search: Callable[..., Ledger]) -> None:
    record = invented_search().folds()
    with pytest.raises(DamagedRecord, match=r"folds\.json: classes or clips unreadable"):
        Protocol.from_json({**record, "clips": {"toy/sub00/EP00": "anger"}})
