"""What a notebook wants: launch a search, read its trials and predictions, use its model.

    import mer_search
    mer_search.launch("quickstart", name="first", trials=8)
    mer_search.results("first")

Reached through the package itself, which imports this file at the first use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mer_search import space_file
from mer_search.errors import InputError
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import choose, read_results
from mer_search.loso.stores import existing

if TYPE_CHECKING:
    from mer_search.experiment import Experiment
    from mer_search.export import ExportedModel

STORE = "./mer-runs"


def launch(
    space: str,
    *,
    name: str | None = None,
    trials: int | None = None,
    store: str | None = None,
    tracking: str | None = None,
    address: str | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "cpu",
    warm_start: str | None = None,
) -> pd.DataFrame:
    """Starts or continues a search like `mer-search launch`; its trials as `results` gives them.

    Args:
        space: a search-space file, or a shipped name.
        settings: dotted path -> value, as `{"train.epochs": 20}`.
        warm_start: an earlier search of the store whose trials guide the sampler.
        store, tracking: None takes MER_SEARCH_STORE, MLFLOW_TRACKING_URI or the defaults.

    Raises:
        InputError: Ray was imported before, and read its settings then.
        MerSearchError: what `mer-search launch` would tell.
    """
    _check_ray()
    experiment = _asked(space, name, trials, settings)
    ledger = Ledger(_store(store), experiment.name)
    _run(experiment, ledger, tracking, address=address, device=device, warm_start=warm_start)
    return results(experiment.name, store=store)


def _run(
    experiment: Experiment,
    ledger: Ledger,
    tracking: str | None,
    *,
    address: str | None,
    device: str,
    warm_start: str | None,
) -> None:
    """The search, shown below the cell and in MLflow."""
    from rich.console import Console

    from mer_search.features.cache import Cache
    from mer_search.report import page
    from mer_search.report.compare import compare
    from mer_search.search.confirm import confirm
    from mer_search.search.live import Screen
    from mer_search.search.mirroring import Mirroring
    from mer_search.search.nested import launch as stage

    screen = Screen(Console())
    mirror = Mirroring(
        ledger, tracking or os.environ.get("MLFLOW_TRACKING_URI"), screen.says,
        report=lambda: page.render(compare([ledger])),
    )  # fmt: skip
    try:
        outcome = stage(experiment, store=ledger.store, cache=Cache.default(),
                        progress=screen.extracts, watchers=(screen, mirror), address=address,
                        device=device, warm_start=warm_start)  # fmt: skip
        confirm(outcome, experiment, ledger, cache=Cache.default(), address=address,
                watchers=(screen,))  # fmt: skip
    finally:
        screen.close()
        mirror.close()


def _asked(
    space: str, name: str | None, trials: int | None, settings: Mapping[str, Any] | None
) -> Experiment:
    wanted = {**(settings or {})}
    wanted |= {} if name is None else {"name": name}
    wanted |= {} if trials is None else {"search.trials": trials}
    return space_file.read(space, [f"{path}={value}" for path, value in wanted.items()])


def _check_ray() -> None:
    """A Ray without token authentication cannot be told of it any more."""
    if "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE") != "token":
        raise InputError(
            "ray",
            "was imported before its settings were made, and runs without token authentication; "
            "launch before importing ray, or set RAY_AUTH_MODE=token before the kernel starts",
        )


def results(name: str, *, store: str | None = None) -> pd.DataFrame:
    """One row per trial, by number: state, reason, folds done, scores, seconds, its parameters.

    Scores are of all folds, NaN where some are missing; the best of them is *selected*, and what
    it is worth says `mer-search compare`.

    Raises:
        InputError: no such search.
    """
    rows = {}
    for result in read_results(existing(_store(store), name)):
        record = result.record
        scores = result.scores if result.complete else {}
        rows[record.number] = {
            "state": record.state,
            "reason": record.reason,
            "folds_done": result.folds_done,
            **{score: scores.get(score, float("nan")) for score in ("uf1", "uar", "accuracy")},
            "seconds": record.seconds,
            **record.params,
        }
    found = pd.DataFrame.from_dict(rows, orient="index")
    found.index.name = "trial"
    return found


def predictions(name: str, trial: int | str = "best", *, store: str | None = None) -> pd.DataFrame:
    """Held-out predictions of a finished trial, one row per clip.

    Columns: dataset, subject, clip, truth, prediction, then the probability of each class.

    Raises:
        InputError: no such search or trial, or a trial that lacks folds.
    """
    if trial != "best" and not isinstance(trial, int):
        raise InputError("trial", f"{trial!r} must be a trial's number or 'best'")
    ledger = existing(_store(store), name)
    objective = ledger.search()["evaluation"]["objective"]
    result = choose(read_results(ledger), "best" if trial == "best" else int(trial), objective)
    protocol, classes = result.protocol, list(result.protocol.classes)
    parts: Sequence[list[str]] = [key.split("/", 2) for key in protocol.keys]
    found = pd.DataFrame(parts, columns=["dataset", "subject", "clip"])
    found["truth"] = [classes[label] for label in protocol.label]
    found["prediction"] = [classes[label] for label in result.probs.argmax(1)]
    return found.join(pd.DataFrame(result.probs, columns=classes))


def load_model(folder: str | Path, *, device: str = "cpu") -> ExportedModel:
    """The model in a folder that `mer-search export` wrote; `.predict(video)` labels a clip.

    Raises:
        InputError, WeightsMissing, DamagedRecord: see `mer_search.export.load`.
    """
    from mer_search.export import load

    return load(Path(folder), device=device)


def _store(store: str | None) -> str:
    return store or os.environ.get("MER_SEARCH_STORE") or STORE
