"""The mirror in a thread of its own: MLflow being slow or away never delays or fails a search."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from types import TracebackType

from mer_search.loso.ledger import Ledger

PAUSE = 2.0  # seconds between two syncs
LONGEST = 60.0  # seconds between two attempts while MLflow is away
SLOW = 10.0  # seconds without a server's answer after which the end of a search waits no more
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class InBackground:
    """Keeps MLflow in line with a ledger while the block runs.

    Args:
        says: called with a sentence when MLflow goes away, and when it is back.
        report: makes the page that is put beside the search's run at the end; None: no page.
        wait: seconds that the end of the block waits for the last sync, as long as MLflow answers.

    Attributes:
        trouble: the last problem, empty when all is written.
    """

    def __init__(
        self,
        ledger: Ledger,
        uri: str,
        *,
        says: Callable[[str], None],
        report: Callable[[], str] | None = None,
        wait: float = 60.0,
    ) -> None:
        self.ledger, self.uri, self.says, self.wait = ledger, uri, says, wait
        self.report, self.trouble = report, ""
        self._asked: float | None = None  # since when MLflow owes an answer
        self._changed: set[int] = set()
        self._all = True
        self._guard, self._wake = threading.Lock(), threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def __enter__(self) -> InBackground:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        self._wake.set()
        until = time.monotonic() + (0 if kind is KeyboardInterrupt else self.wait)
        while self._thread.is_alive() and time.monotonic() < until and not self._late():
            self._thread.join(0.1)
        if self._thread.is_alive():
            self.trouble = self.trouble or "it did not answer in time"
        if self.trouble:
            self.says(
                f"MLflow is behind ({self.trouble}); nothing is lost: "
                f"`mer-search track {self.ledger.name}` repairs it"
            )

    def changed(self, number: int) -> None:
        """Marks a trial; returns at once."""
        with self._guard:
            self._changed.add(number)
        self._wake.set()

    def _late(self) -> bool:
        if self._asked is None or self.uri.startswith("sqlite:"):
            return False  # a busy machine lays out its own database for longer than that
        return time.monotonic() - self._asked > (SLOW / 4 if self.trouble else SLOW)

    def _beat(self) -> None:
        """MLflow has answered and is asked again."""
        self._asked = time.monotonic()

    def _work(self) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        mirror, pause = None, PAUSE
        while True:
            over = self._over
            with self._guard:
                numbers, self._changed = self._changed, set()
            try:
                if mirror is None:
                    from mer_search.tracking.mirror import Mirror

                    self._beat()
                    mirror = Mirror(self.ledger, self.uri, beat=self._beat)
                self._beat()
                mirror.sync(None if self._all else sorted(numbers), running=not over)
                self._asked = None  # the report takes time of our own
                if over and self.report:
                    page = self.report()
                    self._beat()
                    mirror.attach("report.html", page)
                if self.trouble:
                    self.says("MLflow is back")
                self._all, self.trouble, pause = False, "", PAUSE
            # A border: whatever MLflow, its database or its server throws must not end a search.
            except Exception as fault:
                if not self.trouble:
                    why = _short(fault)
                    self.says(f"MLflow at {self.uri} does not answer ({why}); the search goes on")
                mirror, self._all, self.trouble = None, True, _short(fault)
                pause = min(2 * pause, LONGEST)
            self._asked = None
            if over:
                return
            self._sleep(pause)

    def _sleep(self, pause: float) -> None:
        """Waits for news, but not less than `pause`, and not at all when it is over."""
        until = time.monotonic() + pause
        while not self._over and time.monotonic() < until:
            time.sleep(0.05)
        while not self._over and not self._wake.wait(0.5):
            pass
        self._wake.clear()


def _short(fault: Exception) -> str:
    """The cause within what HTTP's layers say around it, or the first line."""
    if cause := re.search(r"Read timed out|Connection refused|Connection aborted", str(fault)):
        return cause[0].lower()
    text = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {text[0][:200]}" if text else type(fault).__name__
