"""Shows a running search in MLflow, as one of the driver's watchers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack

from mer_search.loso.ledger import Ledger
from mer_search.search.book import Book, News
from mer_search.search.prepare import Prepared
from mer_search.search.watching import Watcher
from mer_search.tracking.background import InBackground
from mer_search.tracking.place import uri_of


class Mirroring(Watcher):
    """Writes into MLflow from the first trial until `close`.

    Args:
        tracking: MLflow's address, None for a SQLite file in the store, "none" for no MLflow.
        report: makes the page that stands beside the search's run in the end.

    Raises:
        InputError: an address that MLflow cannot use.
    """

    def __init__(
        self,
        ledger: Ledger,
        tracking: str | None,
        says: Callable[[str], None],
        *,
        report: Callable[[], str] | None = None,
    ) -> None:
        self.uri = None if tracking == "none" else uri_of(ledger, tracking)
        self.ledger, self.sentence, self.report = ledger, says, report
        self.stack = ExitStack()
        self.background: InBackground | None = None

    def begins(self, prepared: Prepared, book: Book, slots: int) -> None:
        """The search is in the ledger now."""
        self._open()

    def nested(self) -> None:
        """The outer groups are done: `close` writes them even where no trial was left to run."""
        self._open()

    def _open(self) -> None:
        if self.uri and not self.background:
            mirror = InBackground(self.ledger, self.uri, says=self.sentence, report=self.report)
            self.background = self.stack.enter_context(mirror)

    def news(self, news: News) -> None:
        """One trial changed."""
        if self.background:
            self.background.changed(news.record.number)

    def close(self) -> None:
        """Waits a little for what is not written yet; not at all while Ctrl-C is under way."""
        self.stack.__exit__(*sys.exc_info())
