"""The model card: what the model is, what its numbers mean, what it is not for.

A function of settings.json alone, so that it says nothing the model does not carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mer_search.config import Features, Trial
from mer_search.features.weights import SOURCES

CARD = """# {search}, trial {number}

Labels a short clip of one face as {classes}. An attention-LSTM over {network} features ({layer}) of
{keyframes} key frames ({method}), attention: {attention}. Written by mer-search {version}.

Trained on **all** {clips} clips of {subjects} subjects: {counts}.

## Numbers

{numbers}

{meaning}

These scores belong to models that never saw the subject they were tested on. This model saw every
subject, so no test subject is left for it: its own score is unknown, and the numbers above stand
for it.

## Use

    mer-search predict FOLDER clip.mp4 --picture clip.png

or `mlflow.pyfunc.load_model("FOLDER/mlflow").predict(pandas.DataFrame({{"video": ["clip.mp4"]}}))`
where mer-search {version} is installed.
{portable} Meant for research on micro-expressions: comparing methods,
looking at what a model attends to.

## Limits

{limits}

## Where it comes from

- Search `{search}`, trial {number}, seed {seed}: {params}.
- Data: reader {reader}, annotation {annotation}, digest {digest}{skipped}.
- Features digest {features}, numerics version {numerics}; {versions}.
- `settings.json` holds all of it.
"""


def text(settings: Mapping[str, Any]) -> str:
    """The card of a model with this settings.json."""
    trial, data = Trial.model_validate(settings["trial"]), settings["data"]
    keyframes, backbone = trial.features.keyframes, trial.features.backbone
    return CARD.format(
        search=settings["search"],
        number=settings["number"],
        classes=_or(settings["classes"]),
        network=backbone.name,
        layer=backbone.layer,
        keyframes=settings["input"][0],
        method=keyframes.method,
        attention=trial.model.attention,
        version=settings["versions"]["mer-search"],
        clips=data["clips"],
        subjects=len(data["subjects"]),
        counts=_listed(data["counts"]),
        numbers=_table(settings["scores"], settings["number"]),
        meaning=_meaning(settings["scores"], settings["number"]),
        portable=_portable(settings),
        limits="\n".join(f"- {each}" for each in _limits(settings, trial.features)),
        seed=_or_all(settings["seeds"]),
        params=_listed(settings["params"]) or "no setting was searched",
        reader=data["reader"],
        annotation=data["annotation"],
        digest=data["digest"],
        skipped=f", {data['skipped']} clips skipped" if data["skipped"] else "",
        features=settings["features_digest"],
        numerics=settings["numerics"],
        versions=_listed(settings["versions"]),
    )


def _portable(settings: Mapping[str, Any]) -> str:
    """How the portable files are used, or why there are none."""
    told = settings["portable"]
    if not told["outputs"]:
        return f"There is no ONNX or torch.export file: {told['missing']}."
    size = " x ".join(map(str, told["frames"][1:]))
    keyframes = settings["input"][0]
    return (
        f"keyframes.onnx (ONNX Runtime) and keyframes.pt2 (`torch.export.load`) take `frames` "
        f"[clips, T, {size}], {told['frames'][0]}, and `mix` [clips, {keyframes}, T], float32, and "
        f"give {', '.join(told['outputs'])}: key frame k is the sum over t of mix[k, t] times the "
        "features of frame t. `mer_search.load_model(FOLDER).inputs(clip)` prepares both."
    )


def _table(scores: Mapping[str, Any], number: int) -> str:
    """Selected, corrected and, where there is one, nested scores; intervals at the objective."""
    corrected, nested = scores["corrected"], scores.get("nested")
    other = "" if corrected["trial"] == number else f" of trial {corrected['trial']}, the best"
    columns = {"selected (optimistic)": scores["selected"], f"corrected{other}": corrected}
    columns |= {"nested (the whole procedure)": nested} if nested else {}
    rows = [f"| score | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name in ("uf1", "uar", "accuracy"):
        shown = [f"{kind[name]:.3f}" for kind in columns.values()]
        if name == scores["objective"]:
            ends = [kind["interval"] for kind in columns.values()]
            shown = [f"{v} [{a:.3f}, {b:.3f}]" for v, (a, b) in zip(shown, ends, strict=True)]
        rows.append(f"| {_title(name)} | {' | '.join(shown)} |")
    return "\n".join(rows)


def _meaning(scores: Mapping[str, Any], number: int) -> str:
    """What the two columns are, in sentences."""
    corrected, objective = scores["corrected"], _title(scores["objective"])
    chose = "It chose this trial, which makes it optimistic."
    if corrected["trial"] != number:
        chose = (
            "This trial was asked for by its number; if its score was the reason, it is optimistic."
        )
    caveats = "".join(f"\nIt {caveat}." for caveat in corrected["caveats"])
    return (
        f"Selected: pooled over {scores['folds']} folds, each clip scored by a model that never "
        f"saw its subject; the objective is {objective}. {chose}\n"
        "Corrected: expected on new subjects, after the choice among "
        f"{corrected['finished']} finished trials. {corrected['method']}.{caveats}"
        f"{_nested(scores.get('nested'))}"
    )


def _nested(nested: Mapping[str, Any] | None) -> str:
    """What the third column is."""
    if not nested:
        return ""
    return (
        f"\nNested ({nested['outer']}): the whole search was run once for each of "
        f"{nested['groups']} groups of subjects without that group, and its winner scored on the "
        "group: what choosing like this is worth on new subjects."
    )


def _limits(settings: Mapping[str, Any], features: Features) -> Iterator[str]:
    """What to know before believing an answer, one sentence or two each."""
    data, name = settings["data"], features.backbone.name
    if data["boundaries"] == "annotated":
        yield (
            f"Trained on clips cut to annotated onset and offset, {_span(data['frames'])} frames: "
            "cut a video likewise. Nothing here finds a micro-expression in a long recording."
        )
    if features.of_faces and features.align.method == "mtcnn":
        yield "One face, whole and visible on the first frame, where it is placed for all frames."
    if features.reference == "onset":
        yield "The first frame counts as onset: its features are subtracted from all others."
    if features.keyframes.method in ("apex", "apex-or-spotted"):
        yield (
            "Trained on annotated apexes where there are such; in a video the frame most unlike "
            "the first is taken for the apex, which can be another one."
        )
    if name in SOURCES and features.backbone.weights == "pretrained":
        yield (
            f"`predict` and `mlflow/` need the weights of {name}: bring the file of SHA-256 "
            f"{settings['weights']['sha256']}. Their licence: {SOURCES[name].licence}. It also "
            "binds keyframes.onnx and keyframes.pt2, which hold them, where they are here. The "
            "data's owners may restrict what is trained on it, too."
        )
    elif features.backbone.weights == "random" and name != "patches":
        yield f"{name} has random weights: a model for tests, not for use."
    yield "Attention says where the model looked, not why it decided."
    yield (
        "Not for judging people: labels are annotators' readings of faces in a laboratory, "
        f"{len(data['subjects'])} subjects are few, and they do not stand for everyone."
    )


def _span(ends: Sequence[int]) -> str:
    return f"{ends[0]} to {ends[1]}" if ends[0] < ends[1] else str(ends[0])


def _title(name: str) -> str:
    return name if name == "accuracy" else name.upper()


def _or_all(seeds: Sequence[int]) -> str:
    """One seed, or those whose models answer together."""
    if len(seeds) == 1:
        return str(seeds[0])
    return f"{', '.join(map(str, seeds))} (the answers of {len(seeds)} trainings, averaged)"


def _or(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
