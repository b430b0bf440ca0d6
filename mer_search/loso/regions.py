"""Which form of a frame's regions a model takes."""

from __future__ import annotations

from mer_search.config import Model
from mer_search.features.records import Regions


def regions_of(model: Model) -> Regions:
    """How features are assembled for this model: every region only where it attends to them."""
    return "keep" if "spatial" in model.attention else model.regions
