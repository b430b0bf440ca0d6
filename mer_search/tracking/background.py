"""The mirror beside a search: MLflow being slow or away never delays or fails it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from mer_search.errors import MerSearchError
from mer_search.loso.ledger import Ledger
from mer_search.tracking.apart import Apart

PAUSE = 2.0  # seconds between two syncs
LONGEST = 60.0  # seconds between two attempts while MLflow is away
SLOW = 10.0  # seconds without a server's answer after which the end of a search waits no more


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
        self._mirror: Apart | None = None
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
            if self._mirror:
                self._mirror.kill()
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
        try:
            self._keep_up()
        finally:
            if self._mirror:
                self._mirror.close()

    def _keep_up(self) -> None:
        pause = PAUSE
        while True:
            over = self._over
            with self._guard:
                numbers, self._changed = self._changed, set()
            try:
                mirror = self._started()
                mirror.sync(None if self._all else sorted(numbers), running=not over)
                self._asked = None  # the report takes time of our own
                if over and self.report:
                    mirror.attach("report.html", self.report())
                if self.trouble:
                    self.says("MLflow is back")
                self._all, self.trouble, pause = False, "", PAUSE
            except (MerSearchError, OSError) as fault:  # of MLflow, or of the report
                if not self.trouble:
                    self.says(f"MLflow at {self.uri} does not answer ({fault}); the search goes on")
                self._all, self.trouble = True, str(fault)
                pause = min(2 * pause, LONGEST)
            self._asked = None
            if over:
                return
            self._sleep(pause)

    def _started(self) -> Apart:
        """The mirror's process; a new one if it has ended."""
        if self._mirror and not self._mirror.alive:
            self._mirror.close()
            self._mirror = None
        if not self._mirror:
            self._mirror, self._all = Apart(self.ledger, self.uri, beat=self._beat), True
        return self._mirror

    def _sleep(self, pause: float) -> None:
        """Waits for news, but not less than `pause`; while MLflow is away for `pause` alone."""
        until = time.monotonic() + pause
        while not self._over and time.monotonic() < until:
            time.sleep(0.05)
        while not self._over and not self.trouble and not self._wake.wait(0.5):
            pass
        self._wake.clear()
