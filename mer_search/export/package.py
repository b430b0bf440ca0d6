"""Writes the folder of an exported model, complete or not at all.

    model.safetensors   the head's tensors
    settings.json       all that is needed to use it, and where it comes from
    card.md             the same for people
    keyframes.onnx, keyframes.pt2   from aligned key frames on, for other runtimes
    mlflow/             a pyfunc of the two first

The pyfunc finds the face network's weights where they are. The portable files hold them, and the
card says whose licence goes with them.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save

import mer_search
from mer_search.config import NUMERICS_VERSION
from mer_search.datasets.clips import DataSet
from mer_search.errors import InputError
from mer_search.export import card
from mer_search.export.chosen import Chosen, clips_of, read_chosen
from mer_search.export.portable import save_portable
from mer_search.export.reading import FORMAT, SETTINGS, WEIGHTS, check_device
from mer_search.export.refit import Refit, refit
from mer_search.features.cache import Cache
from mer_search.loso.ledger import Ledger

CARD = "card.md"


def export_trial(
    ledger: Ledger,
    trial: int | Literal["best"],
    out: Path,
    *,
    cache: Cache,
    dataset: DataSet | None = None,
    device: str = "cpu",
    seeds: int | None = None,
    portable: bool = True,
    register: str | None = None,
    tracking: str | None = None,
) -> dict[str, Any]:
    """Refits a trial on all subjects and writes it; what was written, by name.

    Args:
        out: a new or empty folder; in the end complete, or as it was before.
        dataset: the search's clips; None reads them from where the search was launched.
        seeds: trainings whose answers are averaged; None: as many as the search's folds had.
        portable: write the ONNX and torch.export files, too: a minute for a face network.
        register: `MODEL@ALIAS` in the model registry of `tracking` (None: the store's own).

    Raises:
        InputError: no such trial, or one without all folds; data, weights or numerics that are
            not those of the search; a folder that holds something; a name MLflow cannot take.
        WeightsMissing: the face network's weights are not on this machine.
        TrackingAway: the model is written, and could not be registered.
    """
    from mer_search.export import registry  # MLflow takes seconds to import

    check_device(device)
    shelf = registry.shelf_of(register, ledger, tracking) if register else None
    with unfinished(out) as folder:
        chosen = read_chosen(ledger, trial)
        trained = refit(clips_of(chosen, dataset), chosen.trial, cache=cache, device=device,
                        seeds=seeds or chosen.experiment.evaluation.seeds)  # fmt: skip
        settings = write(folder, chosen, trained, portable=portable)
        registry.save_pyfunc(folder, folder / "mlflow")
    told = {"model": str(place_of(out)), "search": chosen.search, "trial": settings["number"],
            "clips": settings["data"]["clips"], "classes": settings["classes"]}  # fmt: skip
    return {**told, **registry.registered(place_of(out), shelf)} if shelf else told


def place_of(out: Path) -> Path:
    """The folder itself, wherever a link to it lies."""
    return Path(out).expanduser().resolve()


@contextmanager
def unfinished(out: Path) -> Iterator[Path]:
    """A folder to write into; it becomes `out` when the block ends well, and is gone otherwise.

    Raises:
        InputError: `out` holds something already, or cannot be written.
    """
    out = place_of(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(out, "exists and is not empty; delete it or name another folder")
    folder = out.with_name(f".{out.name}.{os.getpid()}.unfinished")
    try:
        with _writing(out):
            folder.mkdir(parents=True)
        yield folder
        with _writing(out):
            folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(folder: Path, chosen: Chosen, trained: Refit, *, portable: bool) -> dict[str, Any]:
    """Weights, settings, card and portable files into an empty folder; returns the settings."""
    state = {name: value.contiguous() for name, value in trained.head.state_dict().items()}
    content = save(state, {"format": str(FORMAT)})
    settings = settings_of(chosen, trained)
    settings["model_sha256"] = hashlib.sha256(content).hexdigest()
    settings["portable"] = {"outputs": [], "missing": "it was exported with --no-portable"}
    with _writing(folder):
        if portable:
            settings["portable"] = save_portable(
                chosen.trial, trained.head, trained.example, folder=folder
            )
        (folder / WEIGHTS).write_bytes(content)
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1, allow_nan=False))
        (folder / CARD).write_text(card.text(settings))
    return settings


def settings_of(chosen: Chosen, trained: Refit) -> dict[str, Any]:
    """The content of settings.json but for the digest of the weights beside it."""
    trial, features, record = chosen.trial, trained.features, chosen.record
    counts = Counter(features.label.tolist())
    return {
        "format": FORMAT,
        "search": chosen.search,
        "number": chosen.result.record.number,
        "params": chosen.result.record.params,
        "seed": trial.train.seed,
        "seeds": list(trained.seeds),
        "classes": list(features.classes),
        "trial": trial.model_dump(mode="json"),
        "arguments": trained.head.arguments,
        "input": list(features.x.shape[1:]),
        "weights": {"name": trial.features.backbone.name, "sha256": trained.weights_sha256},
        "data": {
            "reader": chosen.experiment.data.reader,
            "digest": record["data"],
            "annotation": record.get("annotation", "unknown"),
            "boundaries": record.get("boundaries", "annotated"),
            "clips": len(features.keys),
            "frames": list(trained.frames),
            "subjects": sorted({"/".join(subject) for subject in features.subject}),
            "counts": {name: counts[place] for place, name in enumerate(features.classes)},
            "skipped": len(record.get("skipped", ())),
        },
        "features_digest": features.digest,
        "scores": chosen.scores,
        "numerics": NUMERICS_VERSION,
        "versions": {
            "mer-search": mer_search.__version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "numpy")},
        },
    }


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Failures of the disk as the user's to mend."""
    try:
        yield
    except OSError as fault:
        told = fault.strerror or fault
        raise InputError(out, f"cannot be written ({told}); name another folder") from fault
