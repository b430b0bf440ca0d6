"""A trained head with a face network in front of it, which labels videos. Not for reading files.

Letters: K keyframes, R regions, D channels, S pixels of a face image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mer_search.config import Trial
from mer_search.errors import InputError
from mer_search.features.align import warp
from mer_search.features.backbones import INPUTS, Backbone
from mer_search.features.extract import embed_frames
from mer_search.features.filling import build_backbone
from mer_search.features.frames import Frame, read_video
from mer_search.features.records import VideoFeatures
from mer_search.loso.averages import mirrored
from mer_search.loso.run import regions_of
from mer_search.models.ensemble import Ensemble


def as_the_network_takes(streams: Sequence[NDArray[Any]], trial: Trial) -> NDArray[Any]:
    """Frames [T, ...] at the size that the trial's face network wants, streams in the channels."""
    expects = INPUTS.get(trial.features.backbone.name)
    sized = [
        frames
        if expects is None or frames.shape[1:3] == (expects.size,) * 2
        else warp(list(frames), None, expects.size)
        for frames in streams
    ]
    return np.concatenate(sized, -1)


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
    spatial_attention: NDArray[np.float32] | None = field(repr=False)
    faces: NDArray[np.uint8] = field(repr=False)
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
    """A trained head with the settings of its features; get it from `reading.load`.

    Args:
        settings: the content of settings.json.
        head: the trained modules, one per seed.
        device: torch's name of where to compute.
    """

    def __init__(self, settings: dict[str, Any], head: Ensemble, device: str) -> None:
        self.settings, self.device = settings, device
        self.head = head.to(device).eval()
        self.trial = Trial.model_validate(settings["trial"])
        self.classes: tuple[str, ...] = tuple(settings["classes"])

    @cached_property
    def backbone(self) -> Backbone:
        """The face network, built at the first video and used for all."""
        return build_backbone(self.trial.features.backbone, device=self.device)

    def predict(self, video: str | Path, *, onset: int = 0, apex: int | None = None) -> Prediction:
        """Labels a video file or a folder of frames.

        Args:
            onset, apex: 0-based positions in the video; without an apex, a model with annotated
                apexes takes the frame most unlike the onset, and says so in `notes`.

        Raises:
            InputError: no such file, no frames, no face, frames the model does not take, or an
                onset or apex outside the video.
        """
        video = Path(video).expanduser()
        try:
            return self.predict_frames(read_video(video), onset=onset, apex=apex)
        except InputError as fault:
            if fault.where != "video":
                raise
            raise InputError(video, fault.faults) from fault

    def predict_frames(
        self, frames: Sequence[Frame], *, onset: int = 0, apex: int | None = None
    ) -> Prediction:
        """Labels RGB frames of one clip; onset and apex are positions, where they are known."""
        seen = self._see(frames, onset, apex)
        with torch.inference_mode():
            # A second row is the mirrored clip, whose answer counts as much.
            answer, maps = self.head(torch.from_numpy(seen.x).to(self.device))
            probs = answer.mean(0).cpu().tolist()
        temporal, spatial = maps.get("temporal"), maps.get("spatial")
        return Prediction(
            probabilities=dict(zip(self.classes, probs, strict=True)),
            keyframes=seen.keyframes,
            temporal_attention=[] if temporal is None else temporal.mean(0).cpu().tolist(),
            spatial_attention=None if spatial is None else _on_the_face(spatial.cpu().numpy()),
            faces=seen.faces,
            notes=(*seen.notes, *self._notes(len(frames))),
        )

    def inputs(
        self, video: str | Path, *, onset: int = 0, apex: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """What `keyframes.onnx` and `keyframes.pt2` take of one clip, by name.

        `frames` [1,T,...] at the network's size and `mix` [1,K,T]. To put clips together, fill
        shorter ones up with any frames, and their mix with zeros.
        """
        seen = self._see(read_video(Path(video).expanduser()), onset, apex)
        return {
            "frames": as_the_network_takes(seen.frames, self.trial)[None],
            "mix": seen.mix[None],
        }

    def _see(self, frames: Sequence[Frame], onset: int, apex: int | None) -> VideoFeatures:
        """The features of a clip that the model takes."""
        self._check_frames(frames)
        seen = embed_frames(
            frames,
            self.trial.features,
            onset=onset,
            apex=apex,
            device=self.device,
            regions=regions_of(self.trial.model),
            backbone=self.backbone,
        )
        self._check_features(seen.x)
        return seen

    def _check_frames(self, frames: Sequence[Frame]) -> None:
        """Refuses arrays where faces are expected, and maps of another size than the trained."""
        if not frames:
            return  # told by the features' own check
        frame, backbone = frames[0], self.trial.features.backbone
        found = f"{frame.dtype} {'x'.join(map(str, frame.shape))}"
        if self.trial.features.of_faces:
            if frame.dtype == np.uint8 and frame.shape[2:] == (3,):
                return
            raise InputError(
                "video",
                f"holds arrays ({found}), the model takes 8-bit colour pictures of a face; give a "
                "video file or a folder of images",
            )
        grid, flat = backbone.grid, regions_of(self.trial.model) == "flatten"
        values = self.settings["input"][-1] * (1 if flat else grid**2)
        if frame.size != values or frame.shape[0] % grid or frame.shape[1] % grid:
            raise InputError(
                "video",
                f"holds maps of {found}, the model takes maps of {values} numbers that a "
                f"{grid}x{grid} grid divides; give maps like those it was trained on",
            )

    def _notes(self, frames: int) -> list[str]:
        """A clip of quite another length is more, or less, than one expression."""
        shortest, longest = self.settings["data"]["frames"]
        if shortest / 2 <= frames <= 2 * longest:
            return []
        return [
            f"{frames} frames where clips of {shortest} to {longest} were trained on; cut the clip "
            "likewise, to one expression"
        ]

    def _check_features(self, x: NDArray[np.float32]) -> None:
        """x [1, K, R, D]; under the keyframe method `all`, K is the clip's length."""
        found, wanted = list(x.shape[1:]), self.settings["input"]
        if found != wanted:
            raise InputError(
                "video",
                f"gives {found[0]} key frames of {found[1]} regions and {found[2]} channels, the "
                f"model takes {wanted}; give a clip like those it was trained on",
            )


def _on_the_face(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights [K, R] of [1, K, R]; a second row, of the mirrored clip, is mirrored back."""
    return np.asarray(np.mean([weights[0], *map(mirrored, weights[1:])], 0), np.float32)
