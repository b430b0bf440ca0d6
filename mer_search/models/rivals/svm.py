"""The field's hand-made descriptors under a linear support vector machine, fitted fold by fold.

Descriptor, scaler and machine see a fold's training clips alone; what is exported is a linear
module behind the descriptor. Its probabilities are a softmax over margins: right for ranking
classes, not calibrated. Letters in `architecture.py`; Q is the length of a descriptor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mer_search.errors import InputError
from mer_search.models.head import Head, Maps, State, square

ABSENT = -100.0
"""Margin of a class that a fold has not seen."""


class DescriptorSVM(Head):
    """A descriptor -> scaler -> linear machine, one class against the rest."""

    fitted = True
    centre: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, *, channels: int, classes: int, keyframes: int, regions: int) -> None:
        super().__init__(channels=channels, classes=classes, keyframes=keyframes, regions=regions)
        self.side = square("an SVM over descriptors", regions)
        size = self.length(keyframes, channels)
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("weight", torch.zeros(classes, size))
        self.register_buffer("bias", torch.zeros(classes))

    def length(self, keyframes: int, channels: int) -> int:
        """Q. Raises InputError for maps that have no such descriptor."""
        raise NotImplementedError

    def describe(self, x: Tensor) -> Tensor:
        """Descriptors [B,Q] of x [B,K,H*W,D], each of its clip alone."""
        raise NotImplementedError

    def fit(self, x: Tensor, label: Tensor) -> State:
        from sklearn.svm import LinearSVC

        found = self.describe(x).double().cpu()
        centre, scale = found.mean(0), found.std(0, correction=0)
        scale = torch.where(scale > 1e-12, scale, 1.0)
        seen = torch.unique(label).cpu()
        weight = torch.zeros(self.classes, found.shape[1], dtype=torch.double)
        bias = torch.full((self.classes,), ABSENT, dtype=torch.double)
        if len(seen) == 1:
            bias[seen] = 0.0
        else:
            # Scaled descriptors have a mean squared length of Q: so C means the same for any Q.
            cost = 1.0 / found.shape[1]
            machine = LinearSVC(C=cost, random_state=0, dual="auto", max_iter=10_000)
            machine.fit(((found - centre) / scale).numpy(), label.cpu().numpy())
            w, b = torch.from_numpy(machine.coef_), torch.from_numpy(machine.intercept_)
            # Of two classes scikit-learn keeps one machine, for the second.
            weight[seen], bias[seen] = (w, b) if len(w) > 1 else (
                torch.cat([-w, w]), torch.cat([-b, b])
            )  # fmt: skip
        return {
            "centre": centre.float(),
            "scale": scale.float(),
            "weight": weight.float(),
            "bias": bias.float(),
        }

    def forward(
        self, x: Tensor, masks: Maps | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Maps]:
        """Margins [B,C] of x [B,K,H*W,D]."""
        return (self.describe(x) - self.centre) / self.scale @ self.weight.t() + self.bias, {}


class LBPTOPSVM(DescriptorSVM):
    """Local binary patterns on three orthogonal planes, Zhao & Pietikaeinen 2007.

    With the settings of the MEGC 2019 baseline: four neighbours, radius 1 in the image and 4 in
    time (fewer where there are not nine keyframes), 5x5 blocks; a clip's maps are a video, their
    channels averaged. Four neighbours lie on the axes, so nothing is interpolated (scikit-image's
    patterns have one radius for both axes).
    """

    BLOCKS, CODES = 5, 16

    def length(self, keyframes: int, channels: int) -> int:
        if keyframes < 3 or self.side < self.BLOCKS + 2:
            raise InputError(
                "model.name",
                f"lbp-top-svm takes three keyframes or more of {self.BLOCKS + 2}x"
                f"{self.BLOCKS + 2} pixels or more, found {keyframes} of {self.side}x{self.side}; "
                "set features.keyframes.count (ten under tim in the field) and larger maps",
            )
        self.reach = min(4, (keyframes - 1) // 2)
        return 3 * self.CODES * self.BLOCKS**2

    def describe(self, x: Tensor) -> Tensor:
        video = torch.unflatten(x.mean(3), 2, (self.side, self.side))  # [B,K,H,W]
        pooled = [_pooled(plane, self.BLOCKS) for plane in self._planes(video)]
        return torch.cat([each.flatten(1) for each in pooled], 1)

    def _planes(self, video: Tensor) -> Iterator[Tensor]:
        """Shares [B,16,H-2,W-2] of the codes at every pixel, for each plane."""
        codes = torch.arange(self.CODES, device=video.device)
        for steps in (
            ((0, 1, 0), (0, 0, 1)),
            ((0, 0, 1), (self.reach, 0, 0)),
            ((0, 1, 0), (self.reach, 0, 0)),
        ):
            found = sum(
                (self._at(video, tuple(sign * each for each in step)) >= self._at(video)).long()
                << place
                for place, (step, sign) in enumerate((s, g) for s in steps for g in (1, -1))
            )
            assert isinstance(found, Tensor)
            yield (found.unsqueeze(1) == codes.view(-1, 1, 1, 1)).float().mean(2)

    def _at(self, video: Tensor, step: tuple[int, ...] = (0, 0, 0)) -> Tensor:
        """The inner part of a video, moved by a step in time, height and width."""
        t, h, w = step
        return video[
            :,
            self.reach + t : video.shape[1] - self.reach + t,
            1 + h : self.side - 1 + h,
            1 + w : self.side - 1 + w,
        ]


class BiWOOFSVM(DescriptorSVM):
    """Bi-weighted oriented optical flow, Liong et al. 2018 (arXiv 1606.01721).

    Eight orientations per block, each pixel weighted by its magnitude; each block weighted by its
    mean strain; 8x8 blocks. The maps' first three channels are flow in x and y and strain.
    Flow is taken from the mean of the fold's training clips: maps stored as images have no zero.
    """

    BLOCKS, BINS = 8, 8

    def length(self, keyframes: int, channels: int) -> int:
        if channels < 3 or self.side < self.BLOCKS:
            raise InputError(
                "model.name",
                f"bi-woof-svm takes maps of flow in x and y and strain, {self.BLOCKS}x"
                f"{self.BLOCKS} pixels or more, found {channels} channels of {self.side}x"
                f"{self.side}; give such maps",
            )
        return keyframes * self.BINS * self.BLOCKS**2

    def describe(self, x: Tensor) -> Tensor:
        maps = torch.unflatten(x, 2, (self.side, self.side))  # [B,K,H,W,D]
        u, v = ((maps[..., n] - self.mean[n]) / self.std[n] for n in (0, 1))
        turn = (torch.atan2(v, u) / (2 * math.pi) + 0.5) * self.BINS
        place = turn.floor().clamp(0, self.BINS - 1).unsqueeze(2)
        bins = torch.arange(self.BINS, device=x.device).view(-1, 1, 1)
        magnitude = (u.square() + v.square()).sqrt().unsqueeze(2)
        local = _pooled((place == bins) * magnitude, self.BLOCKS)  # [B,K,8,b,b]
        strain = _pooled(maps[..., 2], self.BLOCKS).unsqueeze(2)
        return (local * strain).flatten(1)


def _pooled(y: Tensor, blocks: int) -> Tensor:
    """Means [...,b,b] of y [...,H,W] over b x b blocks that share out the pixels."""
    for _ in range(2):
        size = y.shape[-1]
        own = torch.arange(size, device=y.device) * blocks // size
        member = (own.unsqueeze(1) == torch.arange(blocks, device=y.device)).to(y.dtype)
        y = (y @ (member / member.sum(0))).transpose(-1, -2)
    return y
