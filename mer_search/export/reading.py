"""Reads the folder of an exported model, and refuses what is not what was written.

load(Path("model")).predict(Path("clip.mp4")).label
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors

from mer_search.config import NUMERICS_VERSION, Trial
from mer_search.errors import DamagedRecord, InputError
from mer_search.export.model import ExportedModel
from mer_search.features import plan
from mer_search.loso.fine_tune import rebuild
from mer_search.models.catalogue import build_plain
from mer_search.models.ensemble import Ensemble, Member

FORMAT = 1
SETTINGS, WEIGHTS = "settings.json", "model.safetensors"


def load(folder: Path, *, device: str = "cpu") -> ExportedModel:
    """The model in a folder that `export` wrote.

    Raises:
        InputError: no such folder, one that holds no model, one that another mer-search has to
            read, other face network weights than the model was trained with, or no such device.
        WeightsMissing: the face network's weights are not on this machine.
        DamagedRecord: its files are not what was written.
    """
    folder = Path(folder).expanduser()
    check_device(device)
    settings = read_settings(folder)
    with _readable(folder):
        content = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(content).hexdigest() != settings["model_sha256"]:
            raise ValueError(f"{WEIGHTS} is not the file that was written")
        head = Ensemble(_member(settings) for _ in settings["seeds"])
        head.load_state_dict(tensors(content))
        model = ExportedModel(settings, head, device)
    _check_weights(model)
    return model


def _member(settings: dict[str, Any]) -> Member:
    """A module to load weights into."""
    trial = Trial.model_validate(settings["trial"])
    if trial.features.backbone.trainable != "none":
        return rebuild(trial, settings["arguments"])
    return build_plain(trial.model.name, **settings["arguments"])


def read_settings(folder: Path) -> dict[str, Any]:
    """The content of settings.json; errors of `load`."""
    if not folder.is_dir():
        raise InputError(folder, "is no folder; give the one that `mer-search export` wrote")
    missing = [name for name in (SETTINGS, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            folder,
            f"holds no exported model, {' and '.join(missing)} missing; give the folder that "
            "`mer-search export NAME --out FOLDER` wrote",
        )
    with _readable(folder):
        settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text())
        for name, here in (("format", FORMAT), ("numerics", NUMERICS_VERSION)):
            if settings[name] != here:
                raise InputError(
                    folder / SETTINGS,
                    f"{name} {settings[name]!r} is not {here}, the one that this mer-search "
                    f"reads; use mer-search {settings['versions']['mer-search']}",
                )
    return settings


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Whatever the files' content makes their readers throw, as one message."""
    try:
        yield
    except (ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as fault:
        told = str(fault).splitlines()[0]
        raise DamagedRecord(
            f"{folder}: the model is unreadable ({type(fault).__name__}: {told}); export it again"
        ) from fault


def _check_weights(model: ExportedModel) -> None:
    """The face network here is the one that gave the training features."""
    backbone, trained = model.trial.features.backbone, model.settings["weights"]["sha256"]
    here = plan.identity(backbone)
    if here != trained:
        raise InputError(
            f"weights of {backbone.name}",
            f"the model was trained with the file of SHA-256 {trained}, here is {here}; bring "
            f"that file and run `mer-search weights import {backbone.name} FILE`",
        )


def check_device(device: str) -> None:
    """Raises InputError where torch cannot compute on it."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as fault:
        told = str(fault).splitlines()[0]
        raise InputError("--device", f"{device!r} cannot be used ({told}); give cpu") from fault
