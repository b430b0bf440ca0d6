"""The model card: what the model is, what its numbers mean, what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mer_search.loso.estimates import Estimate
from mer_search.loso.result import LosoResult

CARD = """# {search}, trial {number}

Labels a short clip of one face with one of: {classes}. An attention-LSTM over {backbone} features
({layer}) of {keyframes} key frames; written by mer-search {version}.

## Numbers

| score | value | what it is |
|---|---|---|
| {objective}, selected | {selected:.3f} | chose this trial, so it is optimistic |
| {objective}, corrected | {corrected:.3f} [{low:.3f}, {high:.3f}] | expected on new subjects |
| UF1, UAR, accuracy, selected | {scores} | of this trial |

Selected: pooled over {folds} folds, each clip scored by a model that never saw its subject.
Corrected for the choice among {finished} finished trials, with its {level:.0%} interval: {method}.
{caveats}

The scores belong to models that never saw the subject they were tested on. This model was trained
on **all** {clips} clips of {subjects} subjects ({counts}), for which no test subject is left: its
own score is unknown, and the numbers above stand for it.

## Input and limits

- A video file or a folder of frames in which one face is visible from the first frame on. The
  trained clips ran from {boundaries} boundaries (onset to offset); cut a clip likewise.
- {reference}
- Weights of the face network do not travel with this folder: {backbone}, file of SHA-256
  {sha256}. Their licence is their owners'.
- Attention says where the model looked, not why it decided.
- Not for judging people: micro-expression labels are an annotator's reading of a face in a
  laboratory, and {subjects} subjects are few.

## Where it comes from

Data digest {data}, annotation {annotation}; settings in `settings.json`; all parameters of the
trial: {params}. Seed {seed}.
"""


def write(
    file: Mapping[str, Any], result: LosoResult, estimate: Estimate, settings: Mapping[str, Any]
) -> str:
    """The text, from search.yaml, the chosen trial, its estimate and settings.json."""
    record, trial = file.get("record", {}), settings["trial"]
    features, backbone = trial["features"], trial["features"]["backbone"]
    objective = estimate.objective
    return CARD.format(
        search=settings["search"],
        number=settings["number"],
        classes=", ".join(settings["classes"]),
        backbone=backbone["name"],
        layer=backbone["layer"],
        keyframes=features["keyframes"]["count"],
        version=settings["versions"]["mer-search"],
        objective=objective.upper() if objective != "accuracy" else objective,
        selected=result.scores[objective],
        corrected=estimate.corrected[objective],
        low=estimate.interval[0],
        high=estimate.interval[1],
        finished=estimate.finished,
        level=estimate.level,
        folds=len(result.protocol.folds),
        scores=", ".join(f"{value:.3f}" for value in result.scores.values()),
        method=estimate.method,
        caveats="\n".join(f"It {caveat}." for caveat in estimate.caveats[:1]),
        clips=len(result.protocol.keys),
        subjects=len(set(result.protocol.subject)),
        counts=", ".join(f"{k} {v}" for k, v in record.get("counts", {}).items()),
        boundaries=record.get("boundaries", "annotated"),
        reference=_reference(features["reference"]),
        sha256=settings["weights_sha256"],
        data=record.get("data", "unknown"),
        annotation=record.get("annotation", "unknown"),
        params=", ".join(f"{path} {value}" for path, value in result.record.params.items()),
        seed=trial["train"]["seed"],
    )


def _reference(reference: str) -> str:
    if reference == "onset":
        return "The first frame counts as onset: its features are subtracted from all others."
    return "Features are used as they are, without a reference frame."
