"""Folds whose face network learns with the head: one after another, each a plain module.

Block and head are trained together on the fold's own clips alone; a held-out clip enters no step.
Features are cached at the frozen boundary, so that a step computes the block and no more. The
head's standardisation is that of its fold's clips before training. Not for choosing settings.

Letters: N clips with their further versions, F folds, K keyframes, R0, D0 regions and channels at
the boundary, B minibatch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mer_search.config import Trial
from mer_search.errors import InputError
from mer_search.features.last_block import build_block
from mer_search.features.records import FeatureSet
from mer_search.loso import occlusion
from mer_search.loso.averages import both_ways
from mer_search.loso.regions import regions_of
from mer_search.loso.train import HeldOut, arguments, learning_rate
from mer_search.models import losses
from mer_search.models.architecture import generator
from mer_search.models.catalogue import Plain, build_bank, build_plain
from mer_search.models.fine_tuned import FineTuned
from mer_search.models.standardise import standardisation

CHUNK = 32
"""Clips that pass a block at once where nothing is learnt."""


def build(trial: Trial, head: Plain, block: nn.Module) -> FineTuned:
    """The module of one fold."""
    reference = trial.features.reference == "onset"
    return FineTuned(block, head, regions=regions_of(trial.model), reference=reference)


def rebuild(trial: Trial, arguments: dict[str, Any]) -> FineTuned:
    """The module that `FineTuned.arguments` and `load_state_dict` make whole again."""
    return build(
        trial, build_plain(trial.model.name, **arguments), build_block(trial.features.backbone)
    )


class FineTuning:
    """All that the folds of one trial share.

    Args:
        features: at the boundary, with the weights of the block.
        trial: its settings.
        device: torch's name of it.
        seed: of weights, order and dropout; that of the trial if None.

    Raises:
        InputError: features that are not finite.
    """

    def __init__(
        self, features: FeatureSet, trial: Trial, *, device: str = "cpu", seed: int | None = None
    ) -> None:
        if wrong := int((~np.isfinite(features.x)).sum()):
            raise InputError("features", f"{wrong} values are not finite; extract again")
        self.trial, self.train, self.device = trial, trial.train, torch.device(device)
        self.seed = trial.train.seed if seed is None else seed
        self.classes = len(features.classes)
        self.x, self.rows = torch.from_numpy(features.x), features.rows
        self.label = torch.from_numpy(features.label[self.rows])
        self.first = self._first(features)
        self.batches = -(-len(self.x) // self.train.batch_size)
        self.steps = self.train.epochs * self.batches

    def _first(self, features: FeatureSet) -> FineTuned:
        """The module that every fold starts from, on the CPU."""
        block = build_block(self.trial.features.backbone, features.block)
        probe = build(self.trial, build_plain("attention-lstm", channels=1, classes=1), block)
        with torch.inference_mode():
            shape = (len(self.x), *probe.rows(self.x[:1]).shape[1:])
        model = self.trial.model
        # A bank of one: its first weights and masks are those of every other trial.
        self.bank = build_bank(
            model.name, 1, seed=self.seed, **arguments(model, shape, self.classes)
        )
        found = build(self.trial, self.bank.member(0), block)
        found.checkpointing = self.train.checkpointing
        return found

    def folds(self, held_out: NDArray[np.bool_]) -> Iterator[FineTuned]:
        """The trained module of each row of held_out [F, clips], one at a time."""
        training = torch.from_numpy(~held_out[:, self.rows])
        mean, std = standardisation(self._entering(), training)
        balanced = self.train.class_weights == "balanced"
        weights = losses.class_weights(self.label, training, self.classes, balanced=balanced)
        for fold, own in enumerate(training):
            model = copy.deepcopy(self.first)
            model.head.mean, model.head.std = mean[fold], std[fold]
            yield self._trained(model.to(self.device), own, weights[fold])

    def _entering(self) -> Tensor:
        """What enters the head before training [N,K,R,D]."""
        model = copy.deepcopy(self.first).to(self.device).eval()
        with torch.inference_mode():
            parts = [model.rows(x.to(self.device)).cpu() for x in torch.split(self.x, CHUNK)]
        return torch.cat(parts)

    def _trained(self, model: FineTuned, own: Tensor, weights: Tensor) -> FineTuned:
        """After all steps on the clips `own` [N]; class weights [C]."""
        optimiser, model = self.optimiser(model), model.train()
        for step in range(self.steps):
            self.step(model, optimiser, step, own=own, weights=weights)
        return model.eval().requires_grad_(False)

    def step(
        self,
        model: FineTuned,
        optimiser: torch.optim.Optimizer,
        step: int,
        *,
        own: Tensor,
        weights: Tensor,
    ) -> None:
        """One minibatch of all clips, of which the fold looks at its own."""
        batch = self._batch(step)
        kept = own[batch]
        if not kept.any():
            return
        masks = self.bank.masks(len(batch), self.seed, step)
        masks = {name: mask[kept].to(self.device) for name, mask in masks.items()}
        x = self.x[batch[kept]].to(self.device)
        half = self.train.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            logits, maps = model(x, masks, kept[kept].to(self.device))
        label = self.label[batch[kept]].to(self.device)
        loss = (self._paid(logits.float(), maps, label) * weights.to(self.device)[label]).mean()
        share = learning_rate(step, self.steps, self.train) / self.train.learning_rate
        for group in optimiser.param_groups:
            group["lr"] = share * group["full"]
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.train.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), self.train.clip_norm)
        optimiser.step()

    def _batch(self, step: int) -> Tensor:
        """Clips [B], in the order that all models take them in (`loso.train`)."""
        epoch, place = divmod(step, self.batches)
        order = torch.randperm(len(self.x), generator=generator(self.seed, "order", epoch))
        size = self.train.batch_size
        return order[place * size : (place + 1) * size]

    def _paid(self, logits: Tensor, maps: dict[str, Tensor], label: Tensor) -> Tensor:
        """Loss [B] before any weight."""
        train, model = self.train, self.trial.model
        gamma = train.focal_gamma if train.loss == "focal" else 0.0
        paid = losses.clip_losses(
            logits[None], label, smoothing=train.label_smoothing, gamma=gamma
        )[0]
        if model.doubly_stochastic and "spatial" in maps:
            paid = (
                paid + model.doubly_stochastic * losses.doubly_stochastic(maps["spatial"][None])[0]
            )
        return paid

    def optimiser(self, model: FineTuned) -> torch.optim.Optimizer:
        """AdamW with rates of its own for block and head; vectors do not decay."""
        train, groups = self.train, []
        for part, rate, decay in (
            (model.block, train.backbone_learning_rate, train.backbone_weight_decay),
            (model.head, train.learning_rate, train.weight_decay),
        ):
            learnt = [p for p in part.parameters() if p.requires_grad]
            for wide in (True, False):
                chosen = [p for p in learnt if (p.dim() > 1) == wide]
                if chosen:
                    groups.append({"params": chosen, "full": rate, "lr": rate,
                                   "weight_decay": decay if wide else 0.0})  # fmt: skip
        return torch.optim.AdamW(groups)

    @property
    def parameters(self) -> int:
        """Trained numbers of one fold's model."""
        return sum(p.numel() for p in self.first.parameters() if p.requires_grad)


def score(
    features: FeatureSet,
    held_out: NDArray[np.bool_],
    trial: Trial,
    *,
    device: str = "cpu",
    seed: int | None = None,
) -> HeldOut:
    """Each held-out clip scored by its own fold of held_out [F, clips], as `FeatureSet.scored`."""
    tuning, found = FineTuning(features, trial, device=device, seed=seed), []
    for fold, (model, held) in enumerate(zip(tuning.folds(held_out), held_out, strict=True)):
        clips = np.flatnonzero(held)
        if len(clips):
            views = [_held_out(model, x, clips, fold) for x in features.scored]
            found.append(both_ways(views))
    return HeldOut(
        clip=np.concatenate([part.clip for part in found]),
        fold=np.concatenate([part.fold for part in found]),
        probs=np.concatenate([part.probs for part in found]),
        maps={name: np.concatenate([p.maps[name] for p in found]) for name in found[0].maps},
    )


def _held_out(
    model: FineTuned, x: NDArray[np.float32], clips: NDArray[np.int64], fold: int
) -> HeldOut:
    """What a fold says of its clips of x [N,K,R0,D0], with and without the block's regions."""
    probs, maps = answers(model, x[clips])
    # Folds of one clip would all draw alike from one seed.
    gone = occlusion.chosen(maps.get("spatial"), seed=int(clips[0]))
    for name, region in gone.items():
        maps[name] = answers(model, x[clips], without=region)[0].astype(np.float16)
    return HeldOut(clips, np.full(len(clips), fold), probs, maps)


def answers(
    model: FineTuned, x: NDArray[np.float32], *, without: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float16]]]:
    """Probabilities [n,C] and attention maps of clips [n,K,R0,D0].

    Args:
        without: a region of the block [n] that is taken away from each clip.
    """
    probs: list[Tensor] = []
    maps: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for first in range(0, len(x), CHUNK):
            part = slice(first, first + CHUNK)
            rows = model.rows(torch.from_numpy(x[part]).to(model.head.mean.device))
            if without is not None:
                left = occlusion.without(rows.cpu().numpy(), without[part])
                rows = torch.from_numpy(left).to(rows.device)
            logits, seen = model.answer(rows)
            probs.append(logits.softmax(-1).cpu())
            for name, value in seen.items():
                maps.setdefault(name, []).append(value.half().cpu())
    return torch.cat(probs).numpy(), {n: torch.cat(each).numpy() for n, each in maps.items()}
