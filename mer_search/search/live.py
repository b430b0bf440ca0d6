"""What a launch shows while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mer_search.loso.ledger import TrialRecord
from mer_search.search.book import Book, News
from mer_search.search.prepare import Prepared
from mer_search.search.watching import Watcher

SHOWN = 12
"""Rows of the live table: running trials first, then the last to end."""
WORDS = {"RUNNING": "running", "COMPLETE": "done", "STOPPED": "stopped", "FAILED": "failed"}


class Screen(Watcher):
    """Shows a launch on a console; close it before printing anything else."""

    follows_inner = True

    def __init__(self, console: Console) -> None:
        self.console = console
        self.rows: dict[int, News] = {}
        self.best: TrialRecord | None = None
        self.begun = time.time()
        self.live: Live | None = None
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(), console=console,
        )  # fmt: skip
        self.extraction = self.bar.add_task("extracting frames", total=None, rate="", visible=False)
        self._told = 0.0

    def extracts(self, done: int, total: int, rate: float) -> None:
        """Progress of the feature cache, in frames."""
        if not total:
            return
        if self.console.is_terminal:
            if not self.live:
                self.bar.start()
            self.bar.update(self.extraction, visible=True, completed=done, total=total,
                            rate=f"{rate:.0f} frames/s")  # fmt: skip
        elif time.time() - self._told > 5 or done == total:
            self._told = time.time()
            left = (total - done) / max(rate, 1e-9)
            self.says(f"extracted {done}/{total} frames ({rate:.0f}/s, {left:.0f} s left)")

    def begins(self, prepared: Prepared, book: Book, slots: int) -> None:
        """The trials start."""
        self.close()
        self.rows = {}  # another search's, where searches are nested
        known = book.proposals.records.values()
        complete = [each for each in known if each.state == "COMPLETE"]
        self.best = max(complete, key=lambda each: each.values[-1], default=None)
        self.book, self.objective = book, book.experiment.evaluation.objective
        self._data(prepared)
        folds = prepared.protocol.folds
        again = "continued" if prepared.continued else "new"
        self.says(
            f"search {book.experiment.name} ({again}): {len(prepared.protocol.keys)} clips, "
            f"{len(folds)} folds in {len(folds.blocks)} blocks; {book.todo} trials to run, "
            f"{slots} at a time"
        )
        if self.console.is_terminal:
            self.live = Live(self._table(), console=self.console, refresh_per_second=4)
            self.live.start()

    def _data(self, prepared: Prepared) -> None:
        """What is trained on, and what the user should know of single clips."""
        data, odd = prepared.dataset, prepared.dataset.faults
        counts = ", ".join(f"{name} {count}" for name, count in data.counts.items())
        self.says(
            f"{data.reader}, annotation {data.version}: {len(data.clips)} clips of "
            f"{len(data.subjects)} subjects ({counts}), digest {prepared.digest[:16]}"
        )
        told = [*(f"left out: {fault}" for fault in odd), *prepared.filled.notes]
        for sentence in told[:SHOWN]:
            self.says(sentence)
        if len(told) > SHOWN:
            self.says(f"{len(told) - SHOWN} more such notes are in search.yaml")

    def news(self, news: News) -> None:
        """One trial began, went on, or ended."""
        self.rows[news.record.number] = news
        record = news.record
        if record.state == "COMPLETE" and (
            self.best is None or record.values[-1] > self.best.values[-1]
        ):
            self.best = record
        if self.live:
            self.live.update(self._table())
        elif record.state != "RUNNING":
            best = f"; best so far trial {self.best.number}" if self.best else ""
            self.says(f"{line(news, self.objective, len(self.book.protocol.folds))}{best}")

    def says(self, sentence: str) -> None:
        self.console.print(sentence, highlight=False, soft_wrap=True, markup=False)

    def close(self) -> None:
        """Leaves the last picture on the terminal."""
        if self.bar.live.is_started:
            self.bar.stop()
        if self.live:
            self.live.update(self._table())
            self.live.stop()
            self.live = None

    def _score(self, news: News) -> float:
        return news.scores.get(self.objective, 0.0)

    def _table(self) -> Group:
        folds = len(self.book.protocol.folds)
        table = Table(box=None, pad_edge=False)
        for name in ("trial", "state", "folds", self.objective, "settings"):
            table.add_column(name, justify="right" if name in ("trial", "folds") else "left")
        ended = [news for news in self.rows.values() if news.record.state != "RUNNING"]
        running = [news for news in self.rows.values() if news.record.state == "RUNNING"]
        for news in [*running, *reversed(ended)][:SHOWN]:
            mark = " best" if news.record is self.best else ""
            score = f"{self._score(news):.3f}{mark}" if news.scores else "-"
            table.add_row(
                str(news.record.number), WORDS[news.record.state], f"{news.folds_done}/{folds}",
                score, Text(short(news.record), overflow="ellipsis", no_wrap=True),
            )  # fmt: skip
        done = f"{len(ended)} ended, {len(running)} running, {self.book.todo} to come, "
        return Group(table, Text(done + f"{time.time() - self.begun:.0f} s"))


def line(news: News, objective: str, folds: int) -> str:
    """One trial in one plain line."""
    record = news.record
    score = f"{objective} {news.scores[objective]:.3f}, " if news.scores else ""
    told = f": {record.reason}" if record.reason else ""
    return (
        f"trial {record.number} {WORDS[record.state]}, {score}"
        f"{news.folds_done}/{folds} folds, {record.seconds:.1f} s ({short(record)}){told}"
    )


def short(record: TrialRecord) -> str:
    """The parameters by their last names."""
    return ", ".join(
        f"{path.rpartition('.')[2]} {value:.2g}" if isinstance(value, float)
        else f"{path.rpartition('.')[2]} {value}"
        for path, value in record.params.items()
    )  # fmt: skip
