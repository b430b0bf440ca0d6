"""Writes the folder of an exported model, complete or not at all."""

from __future__ import annotations

import json
import os
import platform
import shutil
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file

import mer_search
from mer_search import space_file
from mer_search.config import NUMERICS_VERSION, Trial
from mer_search.datasets import read
from mer_search.errors import InputError
from mer_search.experiment import Experiment
from mer_search.export import card
from mer_search.export.model import FORMAT, SETTINGS, WEIGHTS
from mer_search.export.refit import Refit, refit
from mer_search.features import plan
from mer_search.features.cache import Cache
from mer_search.features.extract import feature_set, fill
from mer_search.features.records import FeatureSet
from mer_search.loso import estimates
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import LosoResult, choose, read_results, subject_counts
from mer_search.loso.run import regions_of


def export_trial(
    ledger: Ledger,
    trial: int | Literal["best"],
    out: Path,
    *,
    cache: Cache,
    device: str = "cpu",
    register: str | None = None,
    tracking: str | None = None,
) -> dict[str, Any]:
    """Refits a trial on all subjects and writes it; what was written, by name.

    Args:
        register: `MODEL@ALIAS` in the model registry of `tracking` (None: the store's own).

    Raises:
        InputError: no such trial; data that changed since; a folder that holds something.
    """
    if register and register.count("@") != 1:
        raise InputError("--register", f"{register!r} must be MODEL@ALIAS, such as mer@best")
    out = _free(out)
    file, results = ledger.search(), read_results(ledger)
    experiment = space_file.from_dict(
        {key: value for key, value in file.items() if key not in ("format", "record")}
    )
    objective = experiment.evaluation.objective
    result = choose(results, trial, objective)
    chosen = experiment.trial(result.record.params)
    features = _features(experiment, file, result, chosen, cache, device)
    trained = refit(features, chosen, device=device)
    settings = _settings(ledger, result, chosen, features, trained)
    finished = [each for each in results if each.complete]
    estimate = estimates.correct(subject_counts(finished), objective=objective, trials=len(results))
    text = card.write(file, result, estimate, settings)
    _write(out, trained, settings, text)
    told: dict[str, Any] = {
        "model": str(out), "search": ledger.name, "trial": result.record.number,
        "clips": len(features.keys), "classes": list(features.classes),
    }  # fmt: skip
    if register:
        from mer_search.export.registry import register_model

        told["registered"] = register_model(out, register, ledger, tracking)
    return told


def _free(out: Path) -> Path:
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(out, "exists and is not empty; delete it or name another folder")
    return out


def _features(
    experiment: Experiment,
    file: dict[str, Any],
    result: LosoResult,
    trial: Trial,
    cache: Cache,
    device: str,
) -> FeatureSet:
    """All clips of the search, which must be those it was run on."""
    data = experiment.data
    dataset = read(data.reader, data.root, classes=data.classes, on_fault=data.on_fault)
    if dataset.digest != file["record"]["data"]:
        raise InputError(
            data.root,
            f"the data changed since the search: digest {dataset.digest[:16]}, was "
            f"{file['record']['data'][:16]}; restore it, or run a new search on it",
        )
    keys = set(result.protocol.keys)
    clips = tuple(clip for clip in dataset.clips if clip.key in keys)
    dataset = replace(dataset, clips=clips)
    fill(dataset, [trial.features], cache=cache, device=device)
    return feature_set(dataset, trial.features, cache=cache, regions=regions_of(trial.model))


def _settings(
    ledger: Ledger, result: LosoResult, trial: Trial, features: FeatureSet, trained: Refit
) -> dict[str, Any]:
    """All that is needed to use the model, and where it comes from."""
    return {
        "format": FORMAT,
        "search": ledger.name,
        "number": result.record.number,
        "trial": trial.model_dump(mode="json"),
        "arguments": trained.head.arguments,
        "input": list(features.x.shape[1:]),
        "classes": list(features.classes),
        "weights_sha256": plan.identity(trial.features.backbone),
        "features_digest": features.digest,
        "numerics": NUMERICS_VERSION,
        "versions": {
            "mer-search": mer_search.__version__,
            "python": platform.python_version(),
            "torch": metadata.version("torch"),
        },
    }


def _write(out: Path, trained: Refit, settings: dict[str, Any], text: str) -> None:
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.unfinished")
    try:
        unfinished.mkdir(parents=True)
        state = {k: v.detach().contiguous() for k, v in trained.head.state_dict().items()}
        save_file(state, unfinished / WEIGHTS, {"format": str(FORMAT)})
        (unfinished / SETTINGS).write_text(json.dumps(settings, indent=1))
        (unfinished / "card.md").write_text(text)
        from mer_search.export.registry import save_pyfunc

        save_pyfunc(unfinished, unfinished / "mlflow")
        unfinished.replace(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
