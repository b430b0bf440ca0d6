"""Settings of the features: alignment, key frames, face network, what it is shown, versions.

The first part of the page that `mer_search.config` is, and the base of all settings. Defaults are
ours, never a paper's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

NUMERICS_VERSION = 1
"""Raised when the same settings no longer give the same numbers; part of every digest."""

BackboneName = Literal[
    "facenet-casia", "facenet-vggface2", "vgg-face", "resnet50-vggface2", "senet50-vggface2",
    "patches",
]  # fmt: skip
LAYERS: dict[str, tuple[str, ...]] = {
    "facenet-casia": ("block8", "repeat_1", "repeat_2", "embedding"),
    "facenet-vggface2": ("block8", "repeat_1", "repeat_2", "embedding"),
    "vgg-face": ("pool5", "conv5_3", "fc6", "fc7"),
    "resnet50-vggface2": ("layer4", "layer3", "embedding"),
    "senet50-vggface2": ("layer4", "layer3", "embedding"),
    "patches": ("grid",),
}
"""Layers of each backbone; the first is the default."""
BOUNDARIES: dict[tuple[str, str], str] = {
    **{(f"facenet-{n}", end): "repeat_3" for n in ("casia", "vggface2")
       for end in ("block8", "embedding")},
    **{("vgg-face", end): "pool4" for end in ("conv5_3", "pool5")},
    **{(f"{n}-vggface2", end): "layer3" for n in ("resnet50", "senet50")
       for end in ("layer4", "embedding")},
}  # fmt: skip
"""Where the last block of a network begins, by network and layer."""
ONE_REGION = frozenset({"embedding", "fc6", "fc7"})
"""Layers that give one vector per frame (R = 1): nothing to attend to in space."""


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused, identified by content."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that came later: left out at their default, so that older digests stay."""

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields, kept = type(self).model_fields, write(self)
        old = (n for n in kept if n not in self.later or getattr(self, n) != fields[n].default)
        return {name: kept[name] for name in old}

    @property
    def digest(self) -> str:
        """16 hex digits that name these values and the version of the numerics."""
        return digest_of(self.model_dump(mode="json"))


def digest_of(content: Any) -> str:
    """16 hex digits of any JSON value together with `NUMERICS_VERSION`."""
    text = json.dumps([NUMERICS_VERSION, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Align(Settings):
    method: Literal["mtcnn", "none"] = "mtcnn"
    size: Annotated[int, Field(ge=32, le=512)] = 160  # pixels of the square face image


class Keyframes(Settings):
    method: Literal[
        "uniform", "apex", "apex-or-spotted", "difference", "flow", "ssim", "kmeans", "tim", "all"
    ] = "uniform"
    count: Annotated[int, Field(ge=1, le=128)] = 8  # K; without meaning under "all"


class Backbone(Settings):
    name: BackboneName = "facenet-casia"
    layer: str | None = None  # None becomes the network's first of LAYERS
    grid: Annotated[int, Field(ge=1, le=128)] = 7  # regions per side, "patches" only
    weights: Literal["pretrained", "random"] = "pretrained"
    precision: Literal["fp32", "bf16"] = "fp32"
    trainable: Literal["none", "last-block"] = "none"  # last-block: learns with the head, per fold
    later = frozenset({"trainable"})

    @property
    def frozen(self) -> Backbone:
        """The part whose embeddings are cached: up to `layer`, or to where training begins."""
        if self.trainable == "none":
            return self
        boundary = BOUNDARIES.get((self.name, str(self.layer)))
        return self.model_copy(update={"layer": boundary, "trainable": "none"})

    @model_validator(mode="before")
    @classmethod
    def _first_layer(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("layer") is None:
            layers = LAYERS.get(values.get("name", "facenet-casia"), (None,))
            return {**values, "layer": layers[0]}
        return values


class Input(Settings):
    """What the network is shown of each key frame; `a+b` are two streams, channels side by side."""

    kind: Literal[
        "appearance", "difference", "flow", "stacked", "appearance+difference", "appearance+flow"
    ] = "appearance"  # stacked: brightness, u and v as one picture
    flow: Literal["farneback", "tv-l1", "dis"] = "farneback"  # where the kind has motion
    magnification: Annotated[float, Field(ge=1.0, le=100.0)] = 1.0  # of motion; 1: as it is
    size: Annotated[int, Field(ge=4, le=512)] = 28  # pixels of a side, `patches` of faces only


class Augment(Settings):
    """Further versions of each training clip."""

    later = frozenset({"flip_scored"})
    flip: bool = False
    flip_scored: bool = False  # the mean over a held-out clip and its mirrored version; else as is
    affine: Annotated[int, Field(ge=0, le=16)] = 0  # versions, each turned, scaled, shifted a bit
    jitter: Annotated[int, Field(ge=0, le=16)] = 0  # versions with other key frames


class Features(Settings):
    later = frozenset({"input", "augment"})
    align: Align = Align()
    keyframes: Keyframes = Keyframes()
    backbone: Backbone = Backbone()
    reference: Literal["none", "onset"] = "none"  # onset: subtract the onset frame's features
    input: Input = Input()
    augment: Augment = Augment()

    def contradictions(self) -> Iterator[str]:
        """Settings that exclude each other, one sentence each."""
        grid, size, method = self.backbone.grid, self.input.size, self.keyframes.method
        if self.backbone.name == "patches" and self.of_faces and size % grid:
            yield (
                f"features.input.size {size} is not divided by features.backbone.grid {grid}; "
                "choose a divisor, 1 for maps as a whole"
            )
        if self.backbone.trainable != "none":
            yield from self._untrainable()
        if self.augment.flip_scored and not self.augment.flip:
            yield (
                "features.augment.flip_scored scores mirrored versions, which no fold has trained "
                "on; set features.augment.flip to true"
            )
        if self.augment.jitter and method in ("tim", "all"):
            yield (
                "features.augment.jitter moves key frames, features.keyframes.method "
                f"{method!r} picks none; set jitter to 0 or choose another method"
            )

    def _untrainable(self) -> Iterator[str]:
        name, layer = self.backbone.name, str(self.backbone.layer)
        ends = ", ".join(sorted(end for net, end in BOUNDARIES if net == name))
        if (name, layer) not in BOUNDARIES:
            cure = f"choose layer {ends}" if ends else "set trainable to none"
            yield f"features.backbone.trainable: {name} {layer} has no last block to train; {cure}"
        if self.keyframes.method == "tim":
            yield (
                "features.backbone.trainable: key frames of 'tim' are mixed from features, which a "
                "block that is trained has not yet; choose another method"
            )
        if "+" in self.input.kind:
            yield (
                f"features.backbone.trainable: one block serves one stream, {self.input.kind!r} "
                "are two; choose one of them"
            )

    @property
    def of_faces(self) -> bool:
        """Whether networks are shown faces, or what is computed of them; else the user's maps."""
        as_it_is = (self.align.method, self.input.kind) == ("none", "appearance")
        changed = self.input.magnification > 1.0 or self.augment.flip or self.augment.affine
        return self.backbone.name != "patches" or not as_it_is or bool(changed)
