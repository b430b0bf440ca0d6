"""Spatial attention over real faces, drawn only where a user asks for it. Not for reading images.

Data sets of faces are under agreements: a page with these pictures stays with its owner, and
nothing that writes to MLflow calls this.

Letters: R regions, S pixels of a face's side.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import isqrt
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image
from plotly.subplots import make_subplots

from mer_search.errors import InputError
from mer_search.loso.result import LosoResult
from mer_search.report.attention import gathered
from mer_search.report.plots import SCALE, escape, new_figure


@dataclass(frozen=True)
class Example:
    """A held-out clip to show for its class.

    Attributes:
        key: `dataset/subject/clip`.
        label: its class.
        probability: what the trial gave its class.
        weights: of the regions, mean over keyframes [R].
    """

    key: str
    label: str
    probability: float
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Face:
    """An example with its onset frame, aligned as the network saw it: uint8 RGB [S,S,3]."""

    example: Example
    image: NDArray[np.uint8]


def examples(result: LosoResult) -> list[Example]:
    """Of each class the held-out clip that the trial is surest of, and its attention.

    Raises:
        InputError: the trial attends to no regions of a square grid.
    """
    weights, protocol = gathered(result, "spatial"), result.protocol
    if weights is None or isqrt(weights.shape[-1]) ** 2 != weights.shape[-1]:
        raise InputError(
            "--faces",
            f"trial {result.record.number} has no attention over regions of a face; choose a trial "
            "with spatial attention, or leave --faces away",
        )
    found = []
    for c, name in enumerate(protocol.classes):
        of_class = np.flatnonzero(protocol.label == c)
        if len(of_class):
            clip = of_class[result.probs[of_class, c].argmax()]
            probability = float(result.probs[clip, c])
            found.append(Example(protocol.keys[clip], name, probability, weights[clip].mean(0)))
    return found


def figure(faces: Sequence[Face]) -> go.Figure:
    """A face per class under its weights; one colour scale for all."""
    lines = -(-len(faces) // 3)
    titles = [f"{escape(each.example.label)} ({each.example.probability:.2f})" for each in faces]
    found = make_subplots(lines, 3, subplot_titles=titles, horizontal_spacing=0.04,
                          vertical_spacing=0.12 / lines)  # fmt: skip
    found.update_layout(new_figure(60 + 300 * lines).layout)
    top = max(float(each.example.weights.max()) for each in faces)
    for index, each in enumerate(faces):
        place: dict[str, Any] = {"row": index // 3 + 1, "col": index % 3 + 1}
        side = isqrt(len(each.example.weights))
        found.add_heatmap(
            z=np.round(each.example.weights.reshape(side, side), 4).tolist(), zmin=0, zmax=top,
            x0=0.5, y0=0.5, opacity=0.45, colorscale=SCALE, showscale=index == 0,
            colorbar={"title": {"text": "weight"}},
            hovertemplate="row %{y:.0f}, column %{x:.0f}: %{z:.3f}<extra></extra>", **place,
        )  # fmt: skip
        found.add_layout_image(
            source=_address(each.image), x=0, y=0, sizex=side, sizey=side, sizing="stretch",
            xanchor="left", yanchor="top", layer="below", **place,
        )  # fmt: skip
        axis = "" if index == 0 else str(index + 1)
        found.update_yaxes(scaleanchor=f"x{axis}", range=[side, 0], **place)
        found.update_xaxes(range=[0, side], **place)
    found.update_xaxes(visible=False, constrain="domain")
    found.update_yaxes(visible=False, constrain="domain")
    return found


def told(faces: Sequence[Face]) -> str:
    """What the picture shows, and what must not be done with it."""
    clips = ", ".join(each.example.key for each in faces)
    return (
        "Of each class the held-out clip that the best trial is surest of, its onset frame under "
        f"its mean weights: {clips}. In brackets the probability of the true class. Real faces: "
        "the data set's agreement says who may see this page."
    )


def _address(image: NDArray[np.uint8]) -> str:
    """The image inside the page itself."""
    packed = BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(packed.getvalue()).decode()}"
