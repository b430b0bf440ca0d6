"""Who hears of a running search: the terminal and MLflow, or whoever stands in for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mer_search.loso.ledger import Ledger
from mer_search.search.book import Book, News

if TYPE_CHECKING:
    from mer_search.search.prepare import Prepared


class Watcher:
    """Hears of everything in the driver's thread; the terminal and MLflow are such watchers.

    Attributes:
        follows_inner: whether it hears of the inner searches of a nested one as well.
    """

    follows_inner = False

    def begins(self, prepared: Prepared, book: Book, slots: int) -> None: ...
    def news(self, news: News) -> None: ...
    def says(self, sentence: str) -> None: ...
    def nested(self) -> None: ...


class StopWith(Watcher):
    """Ends an inner search when the whole one is asked to stop."""

    def __init__(self, outer: Ledger) -> None:
        self.outer = outer

    def begins(self, prepared: Prepared, book: Book, slots: int) -> None:
        self.book = book

    def news(self, news: News) -> None:
        self.book.stopping = self.book.stopping or self.outer.stop_asked()


class Everyone(Watcher):
    """Passes everything on to all watchers, in their order."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self.watchers = watchers

    def begins(self, prepared: Prepared, book: Book, slots: int) -> None:
        for watcher in self.watchers:
            watcher.begins(prepared, book, slots)

    def news(self, news: News) -> None:
        for watcher in self.watchers:
            watcher.news(news)

    def says(self, sentence: str) -> None:
        for watcher in self.watchers:
            watcher.says(sentence)
