"""Two drivers never run one search, and a killed one holds nothing."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from mer_search.errors import SearchHeld
from mer_search.loso.ledger import Ledger
from mer_search.search.hold import hold

OTHER = """
import sys, time
from mer_search.loso.ledger import Ledger
from mer_search.search.hold import hold
with hold(Ledger(sys.argv[1], sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_holds_it_until_it_is_killed(
    invented_search: Callable[..., Ledger],
) -> None:
    ledger = invented_search()
    command = [sys.executable, "-c", OTHER, ledger.store, ledger.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        held = other.stdout.readline()
        try:
            assert held == "held\n"
            with (
                pytest.raises(
                    SearchHeld, match=rf"invented: .*\(process {other.pid} on .*since 20"
                ),
                hold(ledger),
            ):
                pass
        finally:
            other.kill()
    with hold(ledger):
        assert ledger.exists()


def test_a_search_in_memory_is_held_too(own_home: None) -> None:
    ledger = Ledger("memory://store", "far")
    with hold(ledger), pytest.raises(SearchHeld, match="far: this search is running"), hold(ledger):
        pass


@pytest.fixture
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path_factory.mktemp("home")))
