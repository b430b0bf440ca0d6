"""Which form of a frame's regions a model takes."""

from __future__ import annotations

from mer_search.config import MAP_MODELS, Model
from mer_search.features.records import Regions


def regions_of(model: Model) -> Regions:
    """How features are assembled for this model: regions where it looks at each."""
    if model.name in MAP_MODELS or "spatial" in model.attention:
        return "keep"
    return model.regions
