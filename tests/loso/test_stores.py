"""One contract for every store: a folder, fsspec's memory, an S3 server on loopback."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mer_search.errors import DamagedRecord
from mer_search.loso.ledger import FoldBlock, Ledger, TrialRecord, searches

TIMES = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Interrupted(Exception):
    """The process ends here."""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An address of a real S3 server, which s3fs finds by the environment as a user's would."""
    pytest.importorskip("s3fs", reason="needs s3fs; install the test extra")
    server_of = pytest.importorskip("moto.server", reason="needs moto; install the test extra")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    known = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
             "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://{host}:{port}",
             "FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}"}  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in known.items():
            patch.setenv(name, value)
        fsspec.filesystem("s3").mkdir("mer")
        yield "s3://mer"
        fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}"


def block(seed: int) -> FoldBlock:
    probs = np.random.default_rng(seed).random((3, 4), dtype=np.float32)
    maps = {"spatial": np.full((3, 2, 4), 0.25, np.float16)}
    return FoldBlock(("a/1/x", "a/1/y", "a/2/z"), probs, seed, 1.5, 100.0, maps)


def trial(number: int) -> TrialRecord:
    return TrialRecord(number, "RUNNING", {"model.layers": 1}, {"model.layers": {"int": [1, 2]}})


def seen(ledger: Ledger) -> dict[str, Any]:
    """All that a fresh reader finds."""
    again = Ledger(ledger.store, ledger.name)
    found: dict[str, Any] = {"search": again.search() if again.exists() else None}
    for record in again.trials():
        blocks, damaged = again.blocks(record.number)
        assert damaged == []
        found[f"trial {record.number}"] = record
        found |= {f"block {record.number} {i}": b.probs.tolist() for i, b in blocks.items()}
    return found


def interrupted(ledger: Ledger, patch: pytest.MonkeyPatch) -> None:
    """The next record is cut off: a local file before it has its name, an object before it is
    sent (a put is one request, of which a server keeps all or nothing)."""

    def lost(*_: Any, **__: Any) -> None:
        raise Interrupted

    patch.setattr("mer_search.loso.ledger.os.replace", lost)
    if ledger.local is None:
        patch.setattr(ledger._fs, "pipe_file", lost)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "trial", "block", "end"]),
        st.integers(0, 2),
        st.integers(0, 1),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def write(ledger: Ledger, step: tuple[str, int, int, bool], *, at: int) -> None:
    kind, number, index, _ = step
    if kind == "create":
        ledger.create({"name": "demo", "at": at}, {"blocks": [[0, 2]]})
    elif kind == "trial":
        ledger.write_trial(trial(number))
    elif kind == "block":
        ledger.write_block(number, index, block(at))
    else:
        ledger.write_trial(trial(number).ended("COMPLETE", values=(0.5,), seconds=float(at)))


@TIMES
@given(steps=STEPS)
def test_whatever_is_interrupted_readers_find_what_was_finished(
    store: str, steps: list[tuple[str, int, int, bool]]
) -> None:
    """Write, interrupt, reread at every step: a record is the old one or the new one."""
    ledger = Ledger(store, f"demo-{uuid.uuid4().hex}")
    for at, step in enumerate(steps):
        if step[0] == "block":
            ledger.write_trial(trial(step[1]))  # a block stands in the folder of its trial
        before = seen(ledger)
        if step[3]:
            with pytest.MonkeyPatch.context() as patch:
                interrupted(ledger, patch)
                with pytest.raises(Interrupted):
                    write(ledger, step, at=at)
            assert seen(ledger) == before
        write(ledger, step, at=at)
        after = seen(ledger)
        changed = {key for key in after if after[key] != before.get(key)}
        assert set(before) <= set(after)
        assert len(changed) <= 1


def test_records_come_back_and_searches_are_listed(store: str) -> None:
    assert searches(store) == []
    ledger = Ledger(store, "demo")
    assert not ledger.exists()
    ledger.create({"name": "demo"}, {"blocks": [[0, 2]]})
    ledger.write_trial(trial(7))
    ledger.write_block(7, 1, block(5))
    other = Ledger(store, "demo")
    assert searches(store) == ["demo"]
    assert (other.search()["name"], other.folds()["blocks"]) == ("demo", [[0, 2]])
    assert other.trials() == [trial(7)]
    found = other.block(7, 1)
    np.testing.assert_array_equal(found.probs, block(5).probs)
    np.testing.assert_array_equal(found.maps["spatial"], block(5).maps["spatial"])
    with pytest.raises(FileNotFoundError):
        other.block(7, 0)


def test_another_process_s_records_are_seen_at_once(store: str) -> None:
    """A filesystem's cache of listings must not hide what was written since."""
    writer, reader = Ledger(store, "demo"), Ledger(store, "demo")
    writer.write_trial(trial(0))
    assert [each.number for each in reader.trials()] == [0]
    writer.write_trial(trial(1))
    writer.write_block(0, 0, block(0))
    assert [each.number for each in reader.trials()] == [0, 1]
    assert list(reader.blocks(0)[0]) == [0]


def test_blocks_without_their_trial_are_a_failed_trial(store: str) -> None:
    ledger = Ledger(store, "demo")
    ledger.write_block(4, 0, block(0))
    (kept,) = ledger.trials()
    assert (kept.number, kept.state) == (4, "FAILED")
    assert kept.reason.endswith("trials/000004/trial.json is missing")


def test_a_wish_to_stop_comes_and_goes(store: str) -> None:
    ledger = Ledger(store, "demo")
    assert not ledger.stop_asked()
    Ledger(store, "demo").ask_to_stop()
    assert ledger.stop_asked()
    ledger.forget_stop()
    assert not Ledger(store, "demo").stop_asked()


@pytest.mark.parametrize("name", ["search.yaml", "folds.json", "trials/000000/trial.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe{", b'{"format": 2}'])
def test_damaged_records_are_named_and_stay(store: str, name: str, content: bytes) -> None:
    ledger = Ledger(store, "demo")
    ledger.create({"name": "demo"}, {"blocks": [[0, 2]]})
    ledger.write_trial(trial(0))
    path = f"{ledger.root}/{name}"
    ledger._fs.pipe_file(path, content)
    read = {"search.yaml": ledger.search, "folds.json": ledger.folds}
    with pytest.raises(DamagedRecord, match=name.replace(".", r"\.")):
        read.get(name, lambda: ledger.trial(0))()
    if name.startswith("trials"):
        (kept,) = ledger.trials()
        assert (kept.number, kept.state) == (0, "FAILED")
        assert name in kept.reason
    assert ledger._fs.cat_file(path) == content


@pytest.mark.parametrize("cut", [0, 0.5, -1])
def test_a_truncated_block_is_named_and_stays(store: str, cut: float) -> None:
    ledger = Ledger(store, "demo")
    ledger.write_trial(trial(0))
    for index in (0, 1):
        ledger.write_block(0, index, block(index))
    path = f"{ledger.root}/trials/000000/block-01.npz"
    whole = ledger._fs.cat_file(path)
    kept = whole[: int(cut * len(whole)) if isinstance(cut, float) else cut]
    ledger._fs.pipe_file(path, kept)
    found, damaged = ledger.blocks(0)
    assert list(found) == [0]
    assert len(damaged) == 1
    assert "block-01.npz: unreadable" in damaged[0]
    assert ledger._fs.cat_file(path) == kept


def test_blocks_of_another_format_are_refused(store: str) -> None:
    ledger = Ledger(store, "demo")
    ledger.write_trial(trial(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mer_search.loso.fold_block.FORMAT", 2)
        ledger.write_block(0, 0, block(0))
    with pytest.raises(DamagedRecord, match=r"block-00\.npz: unreadable \(format 2 is not 1\)"):
        ledger.block(0, 0)


def test_a_partial_file_of_a_killed_writer_is_no_record(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "demo")
    ledger.write_trial(trial(0))
    folder = tmp_path / "demo" / "trials" / "000000"
    left = folder / f"block-00.npz.{os.getpid()}.partial"
    left.write_bytes(b"half")
    assert ledger.blocks(0) == ({}, [])
    ledger.write_block(0, 0, block(0))
    assert list(ledger.blocks(0)[0]) == [0]
    assert len(list(folder.iterdir())) == 2


def test_a_far_store_is_read_by_several_at_a_time_and_in_order(tmp_path: Path) -> None:
    meeting = threading.Barrier(2, timeout=30)

    def met(number: int) -> int:
        meeting.wait()  # nobody alone gets any further
        return number

    far = Ledger(f"memory://{uuid.uuid4().hex}", "a")
    assert far.each(met, range(6)) == [0, 1, 2, 3, 4, 5]
    assert Ledger(str(tmp_path), "a").each(abs, range(-2, 1)) == [2, 1, 0]
