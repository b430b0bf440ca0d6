"""Where a trial's attention lay, by class, and whether that place mattered. Not for drawing.

Weights of held-out clips alone, each by the fold that never saw it.

Letters: n clips, K keyframes, R regions, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_search.loso.estimates import Score, jackknife_mean
from mer_search.loso.result import LosoResult, Protocol
from mer_search.report.account import Search

Floats = NDArray[np.float64]
SEES = {"conv5_3": (196, 224), "pool5": (212, 224), "repeat_1": (191, 160), "repeat_2": (901, 160),
        "block8": (1397, 160), "layer3": (291, 224), "layer4": (483, 224)}  # fmt: skip
"""Layer -> width in pixels of what one region depends on (repeat_2, block8: at least), and width
of the face image. From the extent of gradients with all weights equal."""


@dataclass(frozen=True)
class Occlusion:
    """Loss of the true class's probability without a region: mean over clips, with intervals.

    Attributes:
        top: without the region of most weight.
        random: without another region, drawn at random.
        difference: top minus random, paired by clip.
    """

    top: Score
    random: Score
    difference: Score

    def as_json(self) -> dict[str, Any]:
        return {
            name: {"value": each.value, "interval": list(each.interval), "level": each.level}
            for name, each in vars(self).items()
        }


@dataclass(frozen=True)
class Attention:
    """Mean weights by class.

    Attributes:
        clips: of each class [C].
        temporal: [C,K], rows sum to 1; None without attention over time.
        spatial: [C,R], rows sum to 1; None without attention over regions.
        occlusion: None where no region was taken away.
    """

    classes: tuple[str, ...]
    clips: tuple[int, ...]
    temporal: Floats | None
    spatial: Floats | None
    occlusion: Occlusion | None

    @property
    def side(self) -> int:
        """Regions per side of the grid; 0 where they form no square."""
        if self.spatial is None:
            return 0
        side = isqrt(self.spatial.shape[1])
        return side if side**2 == self.spatial.shape[1] else 0

    def as_json(self) -> dict[str, Any]:
        def rows(weights: Floats | None) -> dict[str, list[float]] | None:
            if weights is None:
                return None
            return dict(zip(self.classes, np.round(weights, 5).tolist(), strict=True))

        return {
            "temporal": rows(self.temporal),
            "spatial": rows(self.spatial),
            "occlusion": self.occlusion.as_json() if self.occlusion else None,
        }


def attention_of(result: LosoResult) -> Attention | None:
    """The attention of a trial with all folds; None where it has none."""
    protocol = result.protocol
    maps = {name: gathered(result, name) for name in ("temporal", "spatial")}
    if all(values is None for values in maps.values()):
        return None
    temporal, spatial = maps["temporal"], maps["spatial"]
    classes = range(len(protocol.classes))
    return Attention(
        protocol.classes,
        tuple(int((protocol.label == c).sum()) for c in classes),
        None if temporal is None else _by_class(temporal, protocol),
        None if spatial is None else _by_class(spatial.mean(1), protocol),
        _occlusion(result),
    )


def gathered(result: LosoResult, name: str) -> Floats | None:
    """A map of all clips [N, ...] in the protocol's order; None where a block lacks it."""
    blocks = list(result.blocks.values())
    if not blocks or any(name not in block.maps for block in blocks):
        return None
    rows = {key: row for block in blocks
            for key, row in zip(block.keys, block.maps[name], strict=True)}  # fmt: skip
    return np.stack([rows[key] for key in result.protocol.keys]).astype(float)


def _by_class(weights: Floats, protocol: Protocol) -> Floats:
    """Mean of [N, ...] over the clips of each class; 0 for a class without any."""
    means = np.zeros((len(protocol.classes), *weights.shape[1:]))
    for c in range(len(protocol.classes)):
        if (own := protocol.label == c).any():
            means[c] = weights[own].mean(0)
    return means


def _occlusion(result: LosoResult) -> Occlusion | None:
    protocol = result.protocol
    top, random = (gathered(result, f"occluded_{name}") for name in ("top", "random"))
    if top is None or random is None:
        return None
    rows = np.arange(len(protocol.label)), protocol.label
    whole = result.probs[rows].astype(float)
    losses = whole - top[rows], whole - random[rows]
    names = sorted(set(protocol.subject))
    subject = np.array([names.index(each) for each in protocol.subject])
    return Occlusion(*(jackknife_mean(each, subject) for each in (*losses, losses[0] - losses[1])))


def receptive_field(search: Search) -> str:
    """How much of the face one region of the best trial's maps depends on, in a sentence."""
    file, best = search.file["features"]["backbone"], search.best
    params = best.record.params if best else {}
    name = params.get("features.backbone.name", file.get("name"))
    layer = params.get("features.backbone.layer", file.get("layer"))
    if name == "patches":
        return "Regions are patches of the maps: a region sees nothing outside itself."
    if layer not in SEES:
        return f"What a region of layer {layer} sees of the face is not known."
    width, face = SEES[layer]
    if width >= face:
        return (
            f"A region of {name} {layer} may depend on the whole face: its receptive field is "
            f"{width} pixels or more wide, the image {face}. The map is coarse evidence of place."
        )
    return (
        f"A region of {name} {layer} depends on up to {width} of the image's {face} pixels in each "
        "direction. The map is coarse evidence of place."
    )


def verdict(found: Occlusion) -> str:
    """Whether the favoured region matters more than another, to quote."""

    def told(score: Score) -> str:
        return f"{score.value:+.3f} [{score.interval[0]:+.3f}, {score.interval[1]:+.3f}]"

    low, high = found.difference.interval
    says = "no evidence that the region of most weight matters more than another"
    if low > 0 or high < 0:
        than = "more" if low > 0 else "less"
        says = f"the region of most weight matters {than} than another"
    return (
        "Occlusion check: the true class loses "
        f"{told(found.top)} of probability without the region of most weight and "
        f"{told(found.random)} without one drawn at random: {says}, difference "
        f"{told(found.difference)}."
    )
