"""One search in MLflow: a parent run, and a child run per trial, all written from the ledger.

Writing twice changes nothing: runs are found by their tags, points carry the times of their
blocks. A trial whose run shows its final state already costs nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from mer_search import space_file
from mer_search.config import digest_of
from mer_search.errors import InputError
from mer_search.loso.estimates import Estimate, correct
from mer_search.loso.ledger import Ledger
from mer_search.loso.metrics import OBJECTIVES
from mer_search.loso.result import (
    LosoResult,
    Protocol,
    Standing,
    counts_of,
    read_protocol,
    read_result,
)
from mer_search.tracking import pages, runs
from mer_search.tracking.pictures import pictures
from mer_search.tracking.place import (
    EXPERIMENT,
    answering,
    artifacts_of,
    client_of,
    quoted_tags,
    runs_of,
    view_of,
)

KIND = {"mlflow.experimentKind": "custom_model_development"}
"""MLflow opens an experiment of this kind on its table of training runs, not on traces."""
SHARED_VIEW = "mlflow.sharedViewState."
"""Tags of the experiment by which MLflow's page remembers the columns of a link that was shared."""
STATUS = {"RUNNING": "RUNNING", "COMPLETE": "FINISHED", "STOPPED": "KILLED", "FAILED": "FAILED"}
SELECTED_ON = "held-out LOSO predictions; the best trial's score is optimistic"
LAYOUT = "layout 2"
"""Of what a trial's run shows: runs of another one are written again."""
SHOWN = "pictures"
"""Folder of a trial's pictures among its artifacts."""
DRAWS_EVERY = 60.0  # seconds


@dataclass(frozen=True)
class Synced:
    """What a sync did: runs that were created, and runs that were brought up to date."""

    created: int
    written: int


class Mirror:
    """Writes one search into one MLflow. Errors of MLflow pass through; see `background`."""

    def __init__(
        self, ledger: Ledger, uri: str, *, beat: Callable[[], None] = lambda: None
    ) -> None:
        self.ledger, self.beat, self.uri = ledger, beat, uri
        self.client = client_of(uri)
        self.experiment = self._experiment(artifacts_of(ledger, uri))
        self.file: dict[str, Any] = ledger.search()
        known = {key: self.file[key] for key in self.file if key not in ("record", "format")}
        self.settings = space_file.from_dict(known, where=f"{ledger.root}/search.yaml")
        self.protocol: Protocol = read_protocol(ledger)
        self.objective: str = self.file["evaluation"]["objective"]
        self._share_view()
        self.runs = runs.find(self.client, self.experiment, runs_of(ledger))
        self.results: dict[int, Standing] = {}
        self.points: dict[str, int] = {}  # written of each curve: one given twice costs more
        self.drawn = float("-inf")
        self.corrected: Estimate | None = None
        self.status: dict[str, str] = {}  # of runs, as this object has left them

    def sync(self, numbers: Iterable[int] | None = None, *, running: bool = True) -> Synced:
        """Brings these trials (None: all) and the search itself up to date.

        Args:
            running: whether a driver is at work; without one, unfinished trials show as KILLED.
        """
        before, written = len(self.runs), 0
        parent = self.runs.get(runs.PARENT) or self._create(runs.PARENT)
        records = self.ledger.trials() if numbers is None else map(self.ledger.trial, numbers)
        for record in records:
            result = read_result(self.ledger, record, self.protocol)
            self.results[record.number] = Standing.of(result)
            written += self._trial(result, parent, running)
            self.beat()
        self._search(parent, running)
        return Synced(len(self.runs) - before, written)

    def _experiment(self, artifacts: str | None) -> str:
        known = self.client.get_experiment_by_name(EXPERIMENT)
        if known is None:
            try:
                return str(self.client.create_experiment(EXPERIMENT, artifacts, KIND))
            except MlflowException:  # another process was faster
                known = self.client.get_experiment_by_name(EXPERIMENT)
                if known is None:
                    raise
        return str(known.experiment_id)

    def _share_view(self) -> None:
        """The table of this search's trials, which `links` opens."""
        name = f"{SHARED_VIEW}{view_of(self.ledger)}"
        table = pages.view(self.file, runs_of(self.ledger))
        if self.client.get_experiment(self.experiment).tags.get(name) != table:
            self.client.set_experiment_tag(self.experiment, name, table)

    def _create(self, trial: str, result: LosoResult | None = None) -> Run:
        tags = {**quoted_tags(self.ledger), "mer.trial": trial, "mer.selected_on": SELECTED_ON}
        if result is None:
            started, name = self.file.get("record", {}).get("created", 0.0), self.ledger.name
            tags |= {"mer.kind": "search", "mer.digest": digest_of(self.file)}
        else:
            started, name = result.record.started, f"trial {result.record.number}"
            parent = self.runs[runs.PARENT].info.run_id
            tags |= {"mer.kind": "trial", "mlflow.parentRunId": parent,
                     "mer.digest": digest_of(result.record.params),
                     "mer.objective": self.objective}  # fmt: skip
            tags |= pages.weights_tag(self.file, result.record.params)
        run = self.client.create_run(self.experiment, int(1000 * started), tags, name)
        self.runs[trial] = runs.slim(run)
        return self.runs[trial]

    def _trial(self, result: LosoResult, parent: Run, running: bool) -> int:
        """One trial's run; 0 when it shows the same already."""
        record, key = result.record, str(result.record.number)
        run = self.runs.get(key) or self._create(key, result)
        state = record.state if running or record.state != "RUNNING" else "interrupted"
        shown = f"{state}, {result.folds_done} folds, {LAYOUT}"
        if run.data.tags.get("mer.shown") == shown:
            return 0
        metrics = [
            Metric(f"so_far.{name}", value, int(1000 * finished), folds)
            for folds, scores, finished in result.curve()[self.points.get(key, 0) :]
            for name, value in scores.items()
        ]
        last = max((b.finished for b in result.blocks.values()), default=record.started)
        at, done = int(1000 * last), result.folds_done
        final = {"folds_done": float(done), "seconds": record.seconds}
        if result.complete:
            final |= result.scores
            self._put(run, "predictions.csv", pages.predictions(result))
        metrics += [Metric(name, value, at, done) for name, value in final.items()]
        params = pages.settings(self.settings, record.params) if key not in self.points else []
        tags = {"mer.state": state, "mer.reason": record.reason, "mer.shown": shown}
        status = STATUS.get(state, "KILLED")
        self._end(run, status, at)
        self._write(run, metrics, params, tags)
        self.points[key] = len(result.curve())
        return 1

    def _search(self, parent: Run, running: bool) -> None:
        """The parent run: protocol, best so far, and whether it is over."""
        ended = [r for r in self.results.values() if r.record.state != "RUNNING"]
        over = len(ended) >= self.file["search"]["trials"] and len(ended) == len(self.results)
        finished = [r for r in ended if r.complete]
        best = max(finished, key=lambda r: r.scores[self.objective], default=None)
        metrics: list[Metric] = []
        at = int(1000 * max((r.record.started + r.record.seconds for r in ended), default=0))
        if best:
            metrics = [Metric(f"selected.{name}", best.scores[name], at, len(finished))
                       for name in OBJECTIVES]  # fmt: skip
            if not running or over:  # seconds for 10,000 trials: not while they run
                metrics += pages.worth(self.ledger, self._correct(finished), at)
        tags = {"mlflow.note.content": pages.note(self.file, self.protocol, ended, best)}
        # Drawing costs as much as ten trials: where bests follow one another, the last one does.
        due = not running or time.monotonic() - self.drawn > DRAWS_EVERY
        tags |= pages.weights_tag(self.file, {}) | self._beside(parent, best if due else None)
        params = [] if parent.data.params else pages.parameters(self.file, self.protocol)
        status = "FINISHED" if over else "RUNNING" if running else "KILLED"
        self._end(parent, status, at)
        self._write(parent, metrics, params, tags)
        self.runs[runs.PARENT] = self.client.get_run(parent.info.run_id)

    def _correct(self, finished: Sequence[Standing]) -> Estimate:
        """The corrected score; asked once more of the same trials it costs nothing."""
        if self.corrected is None or self.corrected.finished != len(finished):
            counts = counts_of(self.protocol, np.stack([each.predicted for each in finished]))
            self.corrected = correct(counts, objective=self.objective)
        return self.corrected

    def _beside(self, parent: Run, best: Standing | None) -> dict[str, str]:
        """Files of the search, a new best's pictures and the table of trials; the tags for them."""
        shown, tags = parent.data.tags, {}
        if shown.get("mer.shown") != LAYOUT:
            self.client.log_dict(parent.info.run_id, self.file, "search.yaml")
            tags["mer.shown"] = LAYOUT
        if best and shown.get("mer.pictured") != (number := str(best.record.number)):
            self.picture(best, {parent.info.run_id: "best", self.runs[number].info.run_id: SHOWN})
            tags["mer.pictured"], self.drawn = number, time.monotonic()
        return tags

    def picture(self, trial: Standing, places: Mapping[str, str]) -> None:
        """Puts a trial's pictures into folders of runs, by run; they need its blocks."""
        with tempfile.TemporaryDirectory(prefix="mer-search-pictures-") as scratch:
            for name, figure in pictures(read_result(self.ledger, trial.record, self.protocol)):
                file = Path(scratch, name)
                figure.savefig(file)  # once: drawing costs more than all else that a trial shows
                for run, folder in places.items():
                    self.client.log_artifact(run, str(file), folder)
                self.beat()

    def attach(self, name: str, text: str) -> None:
        """Puts a file beside the search's run, which is there."""
        self.client.log_text(self.runs[runs.PARENT].info.run_id, text, name)
        self.beat()

    def _put(self, run: Run, name: str, text: str) -> None:
        """Puts a file beside a run; the client's `log_text` would read the whole run before it."""
        with tempfile.TemporaryDirectory(prefix="mer-search-mlflow-") as scratch:
            file = Path(scratch, name)
            file.write_text(text)
            place = get_artifact_repository(run.info.artifact_uri, tracking_uri=self.uri)
            place.log_artifact(str(file))  # type: ignore[no-untyped-call]

    def _end(self, run: Run, status: str, at: int) -> None:
        """Status and end time; a trial that goes on has none."""
        if status == "RUNNING":
            if self.status.get(run.info.run_id, run.info.status) != status:
                self.client.update_run(run.info.run_id, status=status)
        else:
            self.client.set_terminated(run.info.run_id, status, at or None)
        self.status[run.info.run_id] = status

    def _write(
        self, run: Run, metrics: list[Metric], params: list[Param], tags: dict[str, str]
    ) -> None:
        """One call; `mer.shown` goes with it, so that a half-written run is written again."""
        rows = [RunTag(key, value) for key, value in tags.items()]
        self.client.log_batch(run.info.run_id, metrics[-1000:], params[:100], rows)
        run.data.tags.update(tags)


def mirror(
    ledger: Ledger,
    uri: str,
    *,
    running: bool,
    pictures_of: int | Literal["all"] | None = None,
    report: str | None = None,
) -> Synced:
    """Brings the whole search up to date, for `mer-search track`.

    Args:
        pictures_of: the trial, or all trials, whose runs get pictures.
        report: a page that is put beside the search's run.

    Raises:
        InputError: no such trial.
        TrackingAway: MLflow does not answer.
    """
    with answering(uri):
        shown = Mirror(ledger, uri)
        done = shown.sync(running=running)
        if pictures_of is not None and pictures_of != "all" and pictures_of not in shown.results:
            last = len(shown.results) - 1
            raise InputError(
                "--pictures", f"there is no trial {pictures_of}; numbers go from 0 to {last}"
            )
        for number, trial in shown.results.items():
            if pictures_of in ("all", number):
                shown.picture(trial, {shown.runs[str(number)].info.run_id: SHOWN})
        if report is not None:
            shown.attach("report.html", report)
    return done
