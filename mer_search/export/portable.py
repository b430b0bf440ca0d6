"""The part from aligned key frames to probabilities and attention, for other runtimes.

    keyframes.onnx   for ONNX Runtime and the like
    keyframes.pt2    for `torch.export.load`, without mer-search

Both hold the face network with its weights. Finding the face and choosing key frames stay here.

Letters: B clips, T frames that are looked at, K keyframes, R regions, D channels, S pixels,
C classes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mer_search.config import Trial
from mer_search.errors import MerSearchError
from mer_search.features.backbones import FaceNetwork, Patches
from mer_search.features.filling import build_backbone
from mer_search.features.inputs import streams
from mer_search.loso.run import regions_of
from mer_search.models.ensemble import Ensemble

ONNX, EXPORTED = "keyframes.onnx", "keyframes.pt2"
INPUTS = ("frames", "mix")
ALIKE = 1e-4
"""Largest difference of any output from this package's own, on invented frames."""


class KeyframeModel(nn.Module):
    """From aligned frames to probabilities and attention.

    The key frames' features are `mix` times those of the frames, which serves every setting: a
    row of `mix` picks a frame, less the onset where it is subtracted, or interpolates (`tim`).
    """

    def __init__(self, trial: Trial, head: Ensemble) -> None:
        super().__init__()
        backbone = build_backbone(trial.features.backbone)
        trained = trial.features.backbone.trainable != "none"  # then the head has the regions' rest
        self.regions, self.head = "keep" if trained else regions_of(trial.model), head
        onset = trained and trial.features.reference == "onset"
        self.shown = head.arguments["keyframes"] + onset  # rows of `mix`
        self.streams = len(streams(trial.features))
        self.net = backbone.net if isinstance(backbone, FaceNetwork) else None
        self.grid = backbone.grid if isinstance(backbone, Patches) else 0
        self.mean, self.scale = (0.0, 0.0, 0.0), 1.0
        if isinstance(backbone, FaceNetwork):
            self.mean, self.scale = backbone.expects.mean, backbone.expects.scale
        self.eval().requires_grad_(False)

    def forward(self, frames: Tensor, mix: Tensor) -> tuple[Tensor, ...]:
        """Probabilities [B,C], then `spatial` [B,K,R] and `temporal` [B,K] where there are such.

        Args:
            frames: uint8 RGB faces [B,T,S,S,3] at the network's own size, or maps [B,T,H,W,C];
                with two streams, theirs side by side in the last axis.
            mix: float32 [B,K,T]; one row more, the onset's, where a trained block comes before
                its subtraction.
        """
        seen = frames.flatten(0, 1).float().chunk(self.streams, -1)
        rows = torch.cat([self._rows(each) for each in seen], -1)
        rows = rows.reshape(*frames.shape[:2], *rows.shape[1:])
        x = torch.einsum("bkt,btrd->bkrd", mix, rows)
        if self.regions == "mean":
            x = x.mean(2, keepdim=True)
        elif self.regions == "flatten":
            x = x.flatten(2).unsqueeze(2)
        probs, maps = self.head(x)
        return (probs, *(maps[name] for name in sorted(maps)))

    def _rows(self, images: Tensor) -> Tensor:
        """Embeddings [n,R,D] of images [n,H,W,C], as `features.backbones` computes them."""
        if self.net is None:
            g, (height, width, channels) = self.grid, images.shape[1:]
            cells = images.reshape(-1, g, height // g, g, width // g, channels)
            return cells.transpose(2, 3).reshape(images.shape[0], g * g, -1)
        y: Tensor = self.net(((images - torch.tensor(self.mean)) / self.scale).permute(0, 3, 1, 2))
        return y.unsqueeze(1) if y.ndim == 2 else y.flatten(2).transpose(1, 2)


def save_portable(
    trial: Trial, head: Ensemble, frames: NDArray[Any], *, folder: Path
) -> dict[str, Any]:
    """Writes both files and holds them to this package's own answers; what settings.json says.

    Args:
        frames: of some clip [T, ...], as the network takes them: only size and type matter.

    Raises:
        MerSearchError: a file that answers differently.
    """
    if trial.features.backbone.precision == "bf16":
        return {"outputs": [], "missing": "other runtimes round bf16 features differently"}
    if trial.features.augment.flip_scored:
        return {"outputs": [], "missing": "a clip and its mirrored version are two runs of a file"}
    model = KeyframeModel(trial, head)
    # A size of 1 would be taken for a constant.
    example = invented(frames, model.shown, clips=2, count=3)
    sizes = {0: torch.export.Dim("clips"), 1: torch.export.Dim("frames")}
    dynamic = {"frames": sizes, "mix": {0: sizes[0], 2: sizes[1]}}
    names = ["probabilities", *head.first.maps]  # in the order of `KeyframeModel.forward`
    with _quiet():
        program = torch.export.export(model, example, dynamic_shapes=dynamic)
        torch.export.save(program, folder / EXPORTED)
        written = torch.onnx.export(
            program, dynamo=True, input_names=INPUTS, output_names=names, verbose=False
        )
        assert written is not None
        written.save(folder / ONNX)
    _check(model, frames, folder)
    told = {"frames": [frames.dtype.name, *frames.shape[1:]], "outputs": names}
    return {"files": [ONNX, EXPORTED], **told}


def invented(
    frames: NDArray[Any], keyframes: int, *, clips: int, count: int
) -> tuple[Tensor, Tensor]:
    """Random frames [clips,count,...] of the type and size of `frames`, and a mix for them."""
    rng = np.random.default_rng(0)
    shape = (clips, count, *frames.shape[1:])
    values = rng.random(shape, np.float32)
    made = (255 * values).astype(np.uint8) if frames.dtype == np.uint8 else values
    return torch.from_numpy(made), torch.from_numpy(rng.random((clips, keyframes, count), "f4"))


def _check(model: KeyframeModel, frames: NDArray[Any], folder: Path) -> None:
    """Both files against the module they were made of, for one clip and for several."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    loaded = torch.export.load(folder / EXPORTED).module()
    for clips, count in ((1, 1), (3, 2)):
        given = invented(frames, model.shown, clips=clips, count=count)
        wanted: Sequence[Tensor] = model(*given)
        fed = {name: value.numpy() for name, value in zip(INPUTS, given, strict=True)}
        for file, found in ((ONNX, session.run(None, fed)), (EXPORTED, loaded(*given))):
            pairs = zip(wanted, found, strict=True)
            apart = max(float(np.abs(w.numpy() - np.asarray(f)).max()) for w, f in pairs)
            if not apart <= ALIKE:
                raise MerSearchError(
                    f"{file} answers {apart:.1e} apart from the model for {clips} clips; export "
                    "with --no-portable, and report the versions of torch and onnxscript"
                )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks about views of weights and operators they never meet."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
