"""Every setting on one page: frozen models, checked when built. Not for reading files.

A *trial* is described by `features` (`mer_search.feature_settings`), `model` and `train`; each leaf
of these may be searched (`mer_search.experiment` reads the search-space file). `data`,
`evaluation`, `search` and `resources` describe the search itself. Defaults are ours, never a
paper's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from mer_search.feature_settings import BOUNDARIES as BOUNDARIES
from mer_search.feature_settings import LAYERS as LAYERS
from mer_search.feature_settings import NUMERICS_VERSION as NUMERICS_VERSION
from mer_search.feature_settings import ONE_REGION as ONE_REGION
from mer_search.feature_settings import Align as Align
from mer_search.feature_settings import Augment as Augment
from mer_search.feature_settings import Backbone as Backbone
from mer_search.feature_settings import Features as Features
from mer_search.feature_settings import Input as Input
from mer_search.feature_settings import Keyframes as Keyframes
from mer_search.feature_settings import Settings as Settings
from mer_search.feature_settings import digest_of as digest_of

ModelName = Literal["attention-lstm", "lstm", "gru", "transformer", "elrcn", "mean-pool",
                    "majority", "ststnet", "off-apexnet", "cnn-3d", "lbp-top-svm",
                    "bi-woof-svm"]  # fmt: skip
_OVER_TIME = ("lstm_size", "layers", "bidirectional", "projection", "regions", "pooling", "dropout",
              "input_dropout")  # fmt: skip
USES: dict[str, tuple[str, ...]] = {
    "attention-lstm": (*_OVER_TIME, "attention", "score", "attention_size", "heads",
                       "doubly_stochastic"),
    "lstm": _OVER_TIME,
    "gru": _OVER_TIME,
    "mean-pool": ("projection", "regions", "dropout", "input_dropout"),
    "transformer": ("attention_size", "heads", "layers", "regions", "dropout", "input_dropout"),
    "elrcn": ("lstm_size", "layers", "regions", "dropout", "input_dropout"),
    "majority": (),
    "ststnet": ("dropout",),
    "off-apexnet": ("dropout",),
    "cnn-3d": ("dropout",),
    "lbp-top-svm": (),
    "bi-woof-svm": (),
}  # fmt: skip
"""The settings of `model` that each model has; `tests/models/` builds every one of them."""
MAP_MODELS = frozenset({"ststnet", "off-apexnet", "cnn-3d", "lbp-top-svm", "bi-woof-svm"})
"""Models that take maps pixel by pixel: regions of `patches` are the pixels."""
BEHIND_BLOCKS = ("attention-lstm", "lstm", "gru", "transformer", "mean-pool")
"""Models through which a face network's last block can learn."""

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]


class Model(Settings):
    name: ModelName = "attention-lstm"
    attention: Literal["none", "spatial", "temporal", "spatial-temporal"] = "none"
    score: Literal["additive", "dot", "scaled-dot", "location", "self-attention"] = "additive"
    attention_size: Positive = 64  # A
    heads: Positive = 4  # of self-attention over time
    lstm_size: Positive = 128  # H
    layers: Annotated[int, Field(ge=1, le=4)] = 1
    bidirectional: bool = False
    projection: Annotated[int, Field(ge=0)] = 0  # learned size before the LSTM; 0: none
    regions: Literal["mean", "flatten"] = "mean"  # without spatial attention
    pooling: Literal["last", "mean"] = "last"  # without temporal attention
    doubly_stochastic: Annotated[float, Field(ge=0.0)] = 0.0
    dropout: Share = 0.0  # of the LSTM's outputs
    input_dropout: Share = 0.0  # of the standardised channels

    def contradictions(self) -> Iterator[str]:
        """Settings that the chosen model does not have and that are set all the same."""
        for name, field in Model.model_fields.items():
            value = getattr(self, name)
            if name != "name" and name not in USES[self.name] and value != field.default:
                yield f"model.{name} {value!r} is no setting of {self.name}; {taken(self.name)}"


def taken(model: str) -> str:
    """What to do about a setting that a model does not have."""
    return f"leave it out, {model} takes {', '.join(USES[model]) or 'none'}"


class Train(Settings):
    epochs: Positive = 40
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-2
    batch_size: Positive = 32
    class_weights: Literal["none", "balanced"] = "none"
    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    focal_gamma: Annotated[float, Field(ge=0.0)] = 2.0
    label_smoothing: Share = 0.0
    clip_norm: Annotated[float, Field(ge=0.0)] = 0.0  # gradient norm per fold; 0: off
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Share = 0.0  # share of the steps in which the learning rate rises
    precision: Literal["fp32", "bf16"] = "fp32"  # of matrix products; weights stay fp32
    seed: Annotated[int, Field(ge=0)] = 0
    # of the face network's last block, where features.backbone.trainable says so
    backbone_learning_rate: Annotated[float, Field(gt=0.0)] = 1e-4
    backbone_weight_decay: Annotated[float, Field(ge=0.0)] = 1e-2
    checkpointing: bool = False  # one key frame's activations at a time: less memory, more time
    later = frozenset({"backbone_learning_rate", "backbone_weight_decay", "checkpointing"})


class Trial(Settings):
    """All that one trial needs to know."""

    features: Features = Features()
    model: Model = Model()
    train: Train = Train()

    def contradictions(self) -> list[str]:
        """Settings that exclude each other, one sentence each; empty when all is well."""
        backbone, model = self.features.backbone, self.model
        found = list(model.contradictions())
        layers = LAYERS[backbone.name]
        if backbone.layer not in layers:
            found.append(
                f"features.backbone.layer {backbone.layer!r} is not a layer of {backbone.name}; "
                f"choose from {', '.join(layers)}"
            )
        one_region = backbone.layer in ONE_REGION or (
            backbone.name == "patches" and backbone.grid == 1
        )
        if one_region and "spatial" in model.attention:
            found.append(
                f"model.attention {model.attention!r} needs several regions but "
                f"features.backbone.layer {backbone.layer!r} gives one; choose another layer, "
                "or search attention among none and temporal"
            )
        if model.name in MAP_MODELS and (backbone.name != "patches" or backbone.grid == 1):
            found.append(
                f"model.name {model.name!r} takes maps pixel by pixel; set features.backbone to "
                "{name: patches, grid: S} for maps of S by S pixels"
            )
        if backbone.trainable != "none" and model.name not in BEHIND_BLOCKS:
            found.append(
                f"features.backbone.trainable: no gradient comes through model.name {model.name!r} "
                f"to the last block; choose from {', '.join(BEHIND_BLOCKS)}"
            )
        return [*found, *self.features.contradictions()]


class Data(Settings):
    reader: str
    root: str
    classes: str | dict[str, list[str]] | None = None  # None: the reader's own default
    on_fault: Literal["refuse", "skip"] = "refuse"


class Outer(Settings):
    folds: Annotated[str, Field(pattern=r"^(loso|group-([2-9]|[1-9]\d+))$")] = "group-5"


class Evaluation(Settings):
    # lodo: one data set out at a time
    folds: Annotated[str, Field(pattern=r"^(loso|lodo|group-([2-9]|[1-9]\d+))$")] = "loso"
    objective: Literal["uf1", "uar", "accuracy"] = "uf1"
    seeds: Annotated[int, Field(ge=1, le=100)] = 1  # trainings of each fold, averaged
    outer: Outer | None = None  # nested: the whole search once more per outer group of subjects
    beside: tuple[Literal["uf1", "uar", "accuracy", "seconds", "parameters"], ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _several(cls, values: Any) -> Any:
        """`objective: [uf1, seconds]`: the first ranks and is corrected, the rest stand beside."""
        if isinstance(values, dict) and isinstance(values.get("objective"), list | tuple):
            first, *rest = values["objective"] or [None]
            return {**values, "objective": first, "beside": tuple(rest)}
        return values

    @model_validator(mode="after")
    def _once(self) -> Evaluation:
        if len({self.objective, *self.beside}) <= len(self.beside):
            raise ValueError("an objective is named twice; name each once")
        return self


CONSTRAINT = r"^parameters *<= *[1-9][0-9]*(\.[0-9]*)?([eE]\+?[0-9]{1,2})?$"
"""What a trial must keep to, known before it trains: `parameters <= 2e6`."""


class Racing(Settings):
    rule: Literal["none", "predictive", "median", "asha", "wilcoxon"] = "none"
    stop_below: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.1  # chance, or p value of wilcoxon
    blocks: Literal["auto"] | tuple[Positive, ...] = "auto"  # folds per block
    keep: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5  # share that asha lets pass each block
    second_chances: Annotated[int, Field(ge=0)] = 0  # stopped trials that get all folds at the end
    later = frozenset({"keep", "second_chances"})


class Search(Settings):
    sampler: Literal["tpe", "gp", "random", "grid"] = "tpe"
    trials: Positive = 64
    first: tuple[dict[str, Any], ...] = ()  # trials given by hand, before the sampler's own
    constraints: tuple[Annotated[str, Field(pattern=CONSTRAINT)], ...] = ()
    max_hours: Annotated[float, Field(gt=0.0)] | None = None  # of one launch
    max_folds: Positive | None = None  # fold trainings of the whole search
    confirm: Annotated[int, Field(ge=0, le=20)] = 0  # fresh seeds for the best three at the end
    history: Annotated[int, Field(ge=20)] | None = None  # trials that guide the sampler; None: all
    seed: Annotated[int, Field(ge=0)] = 0
    concurrency: Literal["auto"] | Positive = "auto"
    racing: Racing = Racing()


class Resources(Settings):
    cpu: Annotated[float, Field(gt=0)] = 1
    gpu: Annotated[float, Field(ge=0)] = 0


SECTIONS: dict[str, type[Settings]] = {
    "data": Data,
    "evaluation": Evaluation,
    "search": Search,
    "resources": Resources,
}
SEARCHED: dict[str, type[Settings]] = {"features": Features, "model": Model, "train": Train}


def leaves(settings: type[Settings] = Trial, prefix: str = "") -> dict[str, Any]:
    """Dotted path -> default of every leaf below `settings` ("model.lstm_size": 128)."""
    found: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Settings):
            found |= leaves(kind, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = field.default
    return found


def later_leaves(settings: type[Settings] = Trial, prefix: str = "") -> dict[str, Any]:
    """The leaves that came after the first searches, with the values at which none counts."""
    found: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        path, kind = f"{prefix}{name}", field.annotation
        if isinstance(kind, type) and issubclass(kind, Settings):
            found |= (leaves if name in settings.later else later_leaves)(kind, f"{path}.")
        elif name in settings.later:
            found[path] = field.default
    return found


def options(settings: type[Settings], name: str) -> tuple[Any, ...]:
    """The words a field accepts, or () where it accepts a range."""
    return get_args(settings.model_fields[name].annotation)
