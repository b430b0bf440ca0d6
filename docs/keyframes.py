"""Draws docs/images/keyframes.png: which frames of one invented clip each keyframe method picks.

    python docs/keyframes.py

Red: keyframes. Blue: annotated apex. Grey: the curve a method reads. The invented head drifts, and
`difference` and `ssim` cannot tell drift from expression: here they pick the last frames.

The clip is written by `mer_search.datasets.synthetic`; nothing of any data set is shown.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from mer_search.datasets import casme2, synthetic
from mer_search.datasets.clips import Clip
from mer_search.features.align import locate, warp
from mer_search.features.evidence import CURVES, curves
from mer_search.features.frames import read_frames
from mer_search.features.keyframes import METHODS, NEEDS, Evidence, select, tim_weights

COUNT = 6
CURVE_PLACE = {"left": 0.28, "right": 0.96, "bottom": 0.08, "top": 0.86}
FACES_PLACE = {"left": 0.01, "right": 0.99, "bottom": 0.02, "top": 0.86, "wspace": 0.05}
TARGET = Path(__file__).parent / "images" / "keyframes.png"
ORDER = ("uniform", "apex", "difference", "ssim", "flow", "kmeans", "tim")


def clip_with_faces() -> tuple[Clip, np.ndarray]:
    """The invented clip that moves most, and its aligned faces [T, S, S, 3]."""
    with tempfile.TemporaryDirectory() as folder:
        root = synthetic.write(Path(folder) / "data", subjects=2, clips=5, frames=24, seed=1)
        clip = next(c for c in casme2.read(root).clips if c.label == "surprise")
        frames = read_frames(clip.frames)
        placement = locate([frames[clip.onset or 0]])[0]
        return clip, warp(frames, placement.matrix, 160)


def draw_curve(axes: Axes, method: str, evidence: Evidence) -> None:
    """The evidence a method reads, and what it picks, over the clip's frames."""
    steps = np.arange(evidence.frames)
    if method in NEEDS and method != "kmeans":
        curve = evidence.curves[NEEDS[method]]
        axes.fill_between(steps, curve / max(float(curve.max()), 1e-9), color="0.85", linewidth=0)
    if method == "tim":
        picked = np.linspace(0, evidence.frames - 1, COUNT)
    else:
        picked = select(method, COUNT, evidence).astype(float)
    axes.vlines(picked, 0, 1, color="tab:red", linewidth=1.5)
    axes.plot([evidence.apex] * 2, [0, 1], ":", color="tab:blue", linewidth=1)
    axes.set(xlim=(-0.5, evidence.frames - 0.5), ylim=(0, 1.05), yticks=[], xticks=[])
    axes.set_ylabel(method, rotation=0, ha="right", va="center")


def draw_faces(part: SubFigure, method: str, evidence: Evidence, faces: np.ndarray) -> None:
    """The keyframes themselves; interpolated ones are mixed from all frames."""
    if method == "tim":
        mixed = np.tensordot(tim_weights(len(faces), COUNT), faces.astype(float), axes=1)
        shown = np.clip(mixed, 0, 255).astype(np.uint8)
        names = [f"{at:.1f}" for at in np.linspace(0, len(faces) - 1, COUNT)]
    else:
        picked = select(method, COUNT, evidence)
        shown, names = faces[picked], [str(p) for p in picked]
    for axes, face, name in zip(
        part.subplots(1, COUNT, gridspec_kw=FACES_PLACE), shown, names, strict=True
    ):
        axes.imshow(face)
        axes.set_title(name, fontsize=7, pad=2)
        axes.axis("off")


def main() -> None:
    clip, faces = clip_with_faces()
    found = curves(faces, CURVES, onset=clip.onset or 0)
    evidence = Evidence(len(faces), clip.onset or 0, clip.apex, clip.offset, found)
    assert {*ORDER} == {*METHODS, "tim"} - {"all", "apex-or-spotted"}
    figure = plt.figure(figsize=(10, 1.15 * len(ORDER)))
    for row, method in zip(figure.subfigures(len(ORDER), 1), ORDER, strict=True):
        left, right = row.subfigures(1, 2, width_ratios=(1, 1.5))
        draw_curve(left.subplots(gridspec_kw=CURVE_PLACE), method, evidence)
        draw_faces(right, method, evidence, faces)
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, dpi=80)


if __name__ == "__main__":
    main()
