"""Reads an exported model and labels videos. The face network comes from this machine's weights.

Letters: K keyframes, R regions, S pixels of a face image.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from mer_search.config import Trial
from mer_search.errors import DamagedRecord, InputError
from mer_search.features import plan
from mer_search.features.backbones import Backbone
from mer_search.features.extract import embed_frames
from mer_search.features.filling import build_backbone
from mer_search.features.frames import Frame, read_video
from mer_search.loso.run import regions_of
from mer_search.models.attention_lstm import AttentionLSTM

FORMAT = 1
SETTINGS, WEIGHTS = "settings.json", "model.safetensors"


@dataclass(frozen=True)
class Prediction:
    """What a model says of one clip.

    Attributes:
        probabilities: class -> probability.
        keyframes: 0-based positions in the video [K].
        temporal_attention: weight of each key frame [K], or empty.
        spatial_attention: weight of each region of each key frame [K, R], or None.
        faces: the aligned key frames [K, S, S, 3], uint8.
        notes: what the user should know, in sentences.
    """

    probabilities: dict[str, float]
    keyframes: list[int]
    temporal_attention: list[float]
    spatial_attention: NDArray[np.float32] | None
    faces: NDArray[Any]
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    def as_json(self) -> dict[str, Any]:
        """The contract of `predict --json`."""
        return {
            "label": self.label,
            "probabilities": self.probabilities,
            "keyframes": self.keyframes,
            "temporal_attention": self.temporal_attention,
            "notes": list(self.notes),
        }


class ExportedModel:
    """A trained head with the settings of its features.

    Args:
        settings: the content of settings.json.
        head: the trained module.
        device: torch's name of where to compute.
    """

    def __init__(self, settings: dict[str, Any], head: AttentionLSTM, device: str) -> None:
        self.settings, self.device = settings, device
        self.head = head.to(device).eval()
        self.trial = Trial.model_validate(settings["trial"])
        self.classes: tuple[str, ...] = tuple(settings["classes"])

    @cached_property
    def backbone(self) -> Backbone:
        """The face network, built at the first video.

        Raises:
            WeightsMissing: its weights are not on this machine.
            InputError: they are not those the model was trained with.
        """
        backbone = self.trial.features.backbone
        trained, here = self.settings["weights_sha256"], plan.identity(backbone)
        if here != trained:
            raise InputError(
                f"weights of {backbone.name}",
                f"the model was trained with the file of SHA-256 {trained}, here is {here}; "
                f"bring that file and run `mer-search weights import {backbone.name} FILE`",
            )
        return build_backbone(backbone, device=self.device)

    def predict(self, video: Path) -> Prediction:
        """Labels a video file or a folder of frames.

        Raises:
            InputError: no such file, no frames, no face.
        """
        try:
            return self.predict_frames(read_video(Path(video)))
        except InputError as fault:
            if fault.where != "video":
                raise
            raise InputError(video, fault.faults) from fault

    def predict_frames(
        self, frames: list[Frame], *, onset: int = 0, apex: int | None = None
    ) -> Prediction:
        """Labels RGB frames of one clip; onset and apex are positions, where they are known."""
        seen = embed_frames(
            frames,
            self.trial.features,
            onset=onset,
            apex=apex,
            device=self.device,
            regions=regions_of(self.trial.model),
            backbone=self.backbone,
        )
        self._check(seen.x)
        with torch.inference_mode():
            logits, maps = self.head(torch.from_numpy(seen.x).to(self.device))
            probs = logits.softmax(-1)[0].cpu().tolist()
        temporal, spatial = maps.get("temporal"), maps.get("spatial")
        return Prediction(
            probabilities=dict(zip(self.classes, probs, strict=True)),
            keyframes=seen.keyframes,
            temporal_attention=[] if temporal is None else temporal[0].cpu().tolist(),
            spatial_attention=None if spatial is None else spatial[0].cpu().numpy(),
            faces=seen.faces,
            notes=seen.notes,
        )

    def _check(self, x: NDArray[np.float32]) -> None:
        wanted = self.settings["input"]
        if list(x.shape[1:]) != wanted:
            raise InputError(
                "video",
                f"gives features of shape {list(x.shape[1:])}, the model takes {wanted}; give a "
                "clip like those it was trained on",
            )


def load(folder: Path, *, device: str = "cpu") -> ExportedModel:
    """Reads a folder that `export` wrote.

    Raises:
        InputError: no such folder, or one that holds no model.
        DamagedRecord: its files cannot be read.
    """
    folder = Path(folder)
    missing = [name for name in (SETTINGS, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            folder,
            f"holds no exported model, {' and '.join(missing)} missing; give the folder that "
            "`mer-search export NAME --out FOLDER` wrote",
        )
    try:
        settings = json.loads((folder / SETTINGS).read_text())
        if settings["format"] != FORMAT:
            raise InputError(
                folder / SETTINGS,
                f"format {settings['format']!r} is not {FORMAT}; use the mer-search that wrote it",
            )
        head = AttentionLSTM(**settings["arguments"])
        head.load_state_dict(load_file(folder / WEIGHTS))
        return ExportedModel(settings, head, device)
    except (ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as fault:
        raise DamagedRecord(f"{folder}: the model is unreadable ({fault}); export again") from fault
