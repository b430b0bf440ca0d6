"""The loop: all folds of one model trained together, for a fixed number of epochs.

No metric enters here, so no epoch can be picked on a held-out subject. Statistics, class weights
and gradients of a fold come from its training clips alone: a held-out clip's terms are multiplied
by an exact 0, and its pixels and label leave the fold's weights bit-identical.

Letters: N clips, F folds, K keyframes, R regions, D channels, C classes, B minibatch.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer_search import config
from mer_search.errors import InputError
from mer_search.models import losses
from mer_search.models.adamw import BankAdamW
from mer_search.models.architecture import generator
from mer_search.models.catalogue import Bank, build_bank, count_parameters, fold_bytes
from mer_search.models.memory import bytes_shared
from mer_search.models.precision import matmul_precision
from mer_search.models.stacked import StackedBank
from mer_search.models.standardise import standardisation

Array = NDArray[np.float32] | Tensor
LARGEST = 1e15
"""Channels above this would overflow in fp32, and infinity times 0 is not 0."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out clips, each scored by the one fold that never saw it.

    clip, fold int64 [n]; probs float32 [n,C]; maps float16 [n, ...] (`spatial`, `temporal`).
    """

    clip: NDArray[np.int64]
    fold: NDArray[np.int64]
    probs: NDArray[np.float32]
    maps: dict[str, NDArray[np.float16]]


def train_bank(
    x: Array,
    label: NDArray[np.int64] | Tensor,
    held_out: NDArray[np.bool_] | Tensor,
    *,
    model: config.Model,
    train: config.Train,
    classes: int,
    device: str | torch.device = "cpu",
    seed: int | None = None,
) -> Bank:
    """Train one model per fold on the clips that the fold does not hold out.

    Args:
        x: features [N,K,R,D], float32; R is 1 without spatial attention.
        label: [N], int64, 0 to C-1.
        held_out: [F,N], bool.
        seed: of weights, order and dropout; that of `train` if None.

    Returns:
        The bank, which does not depend on how folds were grouped into banks: first weights,
        order of clips and dropout masks depend on the seed alone.

    Raises:
        InputError: for features that are not finite and for shapes that do not belong together.
    """
    training = Training(
        x, label, held_out, model=model, train=train, classes=classes, device=device, seed=seed
    )
    for _ in range(training.steps):
        training.step()
    return training.bank.eval()


class Training:
    """A bank on its way, one minibatch per `step`; arguments and errors of `train_bank`."""

    def __init__(
        self,
        x: Array,
        label: NDArray[np.int64] | Tensor,
        held_out: NDArray[np.bool_] | Tensor,
        *,
        model: config.Model,
        train: config.Train,
        classes: int,
        device: str | torch.device = "cpu",
        seed: int | None = None,
    ) -> None:
        self.x, self.label, held = (_tensor(value, device) for value in (x, label, held_out))
        _check(self.x, self.label, held, classes)
        self.model, self.train = model, train
        self.seed = train.seed if seed is None else seed
        self.training = ~held
        sizes = arguments(model, self.x.shape, classes)
        self.bank = build_bank(model.name, len(held), seed=self.seed, **sizes).to(device)
        self.bank.mean, self.bank.std = standardisation(self.x, self.training)
        balanced = train.class_weights == "balanced"
        weights = losses.class_weights(self.label, self.training, classes, balanced=balanced)
        self.weights = self.training * weights[:, self.label]  # [F,N], 0 where held out
        self.optimiser = BankAdamW(
            self.bank, weight_decay=train.weight_decay, clip_norm=train.clip_norm
        )
        self.batches = -(-len(self.x) // train.batch_size)
        self.steps, self.done = train.epochs * self.batches, 0
        if isinstance(self.bank, StackedBank) and self.bank.pattern[0].fitted:
            self.bank.fit(self.x, self.label, self.training)
            self.steps = 0

    def step(self) -> None:
        """One minibatch of all clips, in which each fold learns from those it does not hold out."""
        batch = self._batch()
        rate = learning_rate(self.done, self.steps, self.train)
        with matmul_precision(self.train.precision):
            self.optimiser.step(self._loss(batch), rate)
        self.done += 1

    def _loss(self, batch: Tensor) -> Tensor:
        """Sum over folds of the mean over each fold's own clips of the minibatch."""
        masks = self.bank.masks(len(batch), self.seed, self.done)
        masks = {name: mask.to(batch.device) for name, mask in masks.items()}
        logits, maps = self.bank(self.x[batch], masks, self.training[:, batch])
        own = self.training[:, batch].sum(1).clamp(min=1)
        paid = self._paid(logits, maps, self.label[batch]) * self.weights[:, batch]
        return (paid.sum(1) / own).sum()

    def _batch(self) -> Tensor:
        """Clips [B]: each epoch has its own order of all N, the same for every fold."""
        epoch, place = divmod(self.done, self.batches)
        order = torch.randperm(len(self.x), generator=generator(self.seed, "order", epoch))
        size = self.train.batch_size
        return order[place * size : (place + 1) * size].to(self.x.device)

    def _paid(self, logits: Tensor, maps: dict[str, Tensor], label: Tensor) -> Tensor:
        """Loss [F,B] before any weight."""
        gamma = self.train.focal_gamma if self.train.loss == "focal" else 0.0
        smoothing = self.train.label_smoothing
        paid = losses.clip_losses(logits, label, smoothing=smoothing, gamma=gamma)
        if self.model.doubly_stochastic and "spatial" in maps:
            paid = paid + self.model.doubly_stochastic * losses.doubly_stochastic(maps["spatial"])
        return paid


def parameters(model: config.Model, shape: tuple[int, int, int, int], classes: int) -> int:
    """Trained numbers of one fold's model on features of shape [N,K,R,D]."""
    return count_parameters(model.name, **arguments(model, shape, classes))


def bank_bytes(
    shape: tuple[int, int, int, int], *, model: config.Model, train: config.Train, classes: int
) -> tuple[int, int]:
    """What training needs on features of shape [N,K,R,D]: bytes per fold, and of all together."""
    clips, keyframes, regions, channels = shape
    batch, sizes = min(train.batch_size, clips), arguments(model, shape, classes)
    shared = bytes_shared(
        clips=clips, batch=batch, keyframes=keyframes, regions=regions, channels=channels
    )
    return fold_bytes(model.name, batch=batch, clipped=train.clip_norm > 0, **sizes), shared


def predict(bank: Bank, x: Array, held_out: NDArray[np.bool_] | Tensor) -> HeldOut:
    """Score each held-out clip of x [N,K,R,D] by its own fold of held_out [F,N], fold by fold."""
    x, held_out = _tensor(x, bank.mean.device), _tensor(held_out, "cpu")
    probs: list[Tensor] = []
    maps: dict[str, list[Tensor]] = {}
    pairs = held_out.nonzero()
    with torch.inference_mode():
        for fold, clips in enumerate(held_out):
            if not clips.any():
                continue
            logits, seen = bank.member(fold)(x[clips.nonzero()[:, 0].to(x.device)])
            probs.append(logits.softmax(-1).cpu())
            for name, value in seen.items():
                maps.setdefault(name, []).append(value.half().cpu())
    none = torch.zeros(0, bank.classes)
    return HeldOut(
        clip=pairs[:, 1].numpy(),
        fold=pairs[:, 0].numpy(),
        probs=torch.cat([none, *probs]).numpy(),
        maps={name: torch.cat(values).numpy() for name, values in maps.items()},
    )


def predict_all(bank: Bank, x: Array, *, batch_size: int = 64) -> NDArray[np.float32]:
    """Probabilities [F,N,C] of every clip of x [N,K,R,D] by every fold's model."""
    x = _tensor(x, bank.mean.device)
    with torch.inference_mode():
        probs = [bank(part)[0].softmax(-1).cpu() for part in torch.split(x, batch_size)]
    return torch.cat(probs, 1).numpy()


def arguments(model: config.Model, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """The arguments of a model for settings and features of shape [N,K,R,D]."""
    taken = set(config.USES[model.name]) - {"regions", "doubly_stochastic"}
    sizes = {"keyframes": shape[1], "regions": shape[2], "channels": shape[3], "classes": classes}
    return {**model.model_dump(include=taken), **sizes}


def learning_rate(step: int, steps: int, train: config.Train) -> float:
    """The rate of one of `steps` steps, counted from 0: a linear rise, then constant or cosine.

    Cosine: half a period down to 0 (Loshchilov & Hutter 2017, without restarts).
    """
    warm = round(train.warmup * steps)
    if step < warm:
        return train.learning_rate * (step + 1) / warm
    if train.schedule == "constant":
        return train.learning_rate
    return train.learning_rate * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2


def _tensor(values: object, device: str | torch.device) -> Tensor:
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        with warnings.catch_warnings():
            # A memory-mapped cache is read-only; nothing here writes to its input.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(values).to(device)
    return torch.as_tensor(values, device=device)


def _check(x: Tensor, label: Tensor, held_out: Tensor, classes: int) -> None:
    faults = []
    if x.dim() != 4 or label.shape != x.shape[:1] or held_out.shape[1:] != x.shape[:1]:
        faults.append(
            f"features [N,K,R,D] {tuple(x.shape)}, labels [N] {tuple(label.shape)} and held_out "
            f"[F,N] {tuple(held_out.shape)} do not belong together"
        )
    # Some clips at a time: the sizes of all of them would be a second copy of x.
    if wrong := sum(int((~(part.abs() <= LARGEST)).sum()) for part in torch.split(x, 16)):
        faults.append(
            f"{wrong} of {x.numel()} values are not finite or above {LARGEST:g}; extract again"
        )
    if outside := int(((label < 0) | (label >= classes)).sum()):
        faults.append(f"{outside} labels lie outside 0 to {classes - 1}")
    if faults:
        raise InputError("features", faults)
