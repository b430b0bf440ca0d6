"""Class maps: which class each annotated emotion belongs to. Not for reading annotations.

An emotion outside a map is out of that protocol, which is no fault: fear and sadness have too few
clips in CASME II for five classes. A word that no data set of the kind has is a fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from mer_search.errors import InputError, did_you_mean

Classes: TypeAlias = "str | Mapping[str, Iterable[str]]"
"""What users write: the name of a built-in map, or `{class: [emotion, ...]}`."""


@dataclass(frozen=True)
class ClassMap:
    """Emotion -> class.

    Attributes:
        names: class names in the order of the probability columns [C].
        of: emotion, in lower case -> class name.
        emotions_out: dataset -> emotions of `of` that the protocol leaves out there.
        clips_out: dataset -> (subject, clip) pairs that the protocol leaves out by name.
        by: what is looked up, the emotion or the objective class ("1" to "7").
    """

    names: tuple[str, ...]
    of: Mapping[str, str]
    emotions_out: Mapping[str, frozenset[str]] = field(default_factory=dict)
    clips_out: Mapping[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    by: Literal["emotion", "objective"] = "emotion"

    def label(self, dataset: str, subject: str, clip: str, emotion: str) -> str | None:
        """The class of one clip, or None where the protocol leaves it out."""
        emotion = tidy(emotion)
        if emotion in self.emotions_out.get(dataset, ()):
            return None
        if (subject, clip) in self.clips_out.get(dataset, ()):
            return None
        return self.of.get(emotion)


def tidy(emotion: str) -> str:
    """Annotators' spellings differ in case and in blanks round the word only."""
    return emotion.strip().lower()


def _map(classes: Mapping[str, Iterable[str]]) -> dict[str, str]:
    return {tidy(emotion): name for name, emotions in classes.items() for emotion in emotions}


def _plain(*names: str) -> ClassMap:
    """Each emotion its own class."""
    return ClassMap(names=names, of={name: name for name in names})


CASME2_5 = _plain("happiness", "surprise", "disgust", "repression", "others")

MEGC_3 = ClassMap(
    names=("negative", "positive", "surprise"),
    of=_map(
        {
            # SMIC is annotated with the three classes themselves.
            "negative": (
                "negative", "repression", "anger", "contempt", "disgust", "fear", "sadness",
            ),
            "positive": ("positive", "happiness"),
            "surprise": ("surprise",),
        }
    ),
    emotions_out={"casme2": frozenset({"fear", "sadness"})},
    # The challenge's list of CASME II has 145 clips: no apex that differs from the onset (the first
    # two). The sub24 clips were sadness in the 2014 coding, which the list was made from; the 2019
    # coding calls them surprise and would bring them back.
    clips_out={
        "casme2": frozenset(
            {
                ("sub04", "EP12_01f"), ("sub05", "EP09_05f"),
                ("sub24", "EP07_01"), ("sub24", "EP07_04f"), ("sub24", "EP10_03"),
            }
        )
    },
)  # fmt: skip

ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")


def _objective(count: int) -> ClassMap:
    """Classes I, II, ... of action units instead of estimated emotions.

    Source: Davison et al. 2018, doi 10.3390/jimaging4100119. MEGC 2018 used I to V; VI holds a
    handful of clips and VII all that fits nowhere.
    """
    of = {str(number): name for number, name in enumerate(ROMAN[:count], start=1)}
    return ClassMap(names=ROMAN[:count], of=of, by="objective")


BUILT_IN: dict[str, ClassMap] = {
    "casme2-5": CASME2_5,
    "samm-5": _plain("anger", "contempt", "happiness", "surprise", "others"),
    "casme3-7": _plain("disgust", "surprise", "others", "fear", "anger", "sadness", "happiness"),
    "mmew-6": _plain("happiness", "anger", "surprise", "disgust", "fear", "sadness"),
    "4dme-5": _plain("positive", "negative", "surprise", "repression", "others"),
    "megc-3": MEGC_3,
    "megc-3+others": ClassMap(
        names=(*MEGC_3.names, "others"), of={**MEGC_3.of, "others": "others"}
    ),
    "objective-5": _objective(5),
    "objective-7": _objective(7),
}


EMOTIONS = frozenset[str]().union(*(each.of for each in BUILT_IN.values() if each.by == "emotion"))
"""Every word that some data set of the kind has, in our spelling."""


def objective_class(cell: str) -> str | None:
    """`"III"`, `"3"` and `"Class III"` -> `"3"`; None for anything else."""
    word = cell.strip().upper().removeprefix("CLASS").strip()
    if word in ROMAN:
        return str(ROMAN.index(word) + 1)
    return word if word in {str(number) for number in range(1, len(ROMAN) + 1)} else None


def outside(left_out: Counter[str]) -> list[str]:
    """What the classes leave out, in one sentence."""
    if not left_out:
        return []
    told = ", ".join(f"{emotion} {count}" for emotion, count in left_out.most_common())
    return [f"{left_out.total()} annotated clips are outside the classes: {told}"]


def resolve(classes: Classes, emotions: Iterable[str]) -> ClassMap:
    """The class map a user asked for.

    Args:
        classes: the name of a built-in map or a map of the user's own.
        emotions: what the data set's annotators chose from; a user's map may name no other.

    Raises:
        InputError: an unknown name; or, all at once: fewer than two classes, a class without
            emotions, an emotion in two classes, an emotion that the data set does not have.
    """
    if isinstance(classes, str):
        if classes not in BUILT_IN:
            hint = did_you_mean(classes, BUILT_IN)
            raise InputError("data.classes", f"{classes!r} is no class map; {hint}")
        return BUILT_IN[classes]
    faults = list(_faults(classes, sorted({tidy(emotion) for emotion in emotions})))
    if faults:
        raise InputError("data.classes", faults)
    return ClassMap(names=tuple(classes), of=_map(classes))


def _faults(classes: Mapping[str, Iterable[str]], emotions: list[str]) -> Iterable[str]:
    if len(classes) < 2:
        yield f"a map needs two classes or more, this one has {len(classes)}; add classes"
    owner: dict[str, str] = {}
    for name, members in classes.items():
        if isinstance(members, str):
            yield f"class {name!r} must list its emotions; write {name}: [{members}]"
            continue
        members = [tidy(str(member)) for member in members]
        if not members:
            yield f"class {name!r} has no emotions; list them or drop the class"
        for emotion in members:
            if emotion not in emotions:
                hint = did_you_mean(emotion, emotions)
                yield f"class {name!r}: the data set has no emotion {emotion!r}; {hint}"
            elif emotion in owner:
                both = f"and in {name!r}; keep it in one class"
                cure = "twice; drop one" if owner[emotion] == name else both
                yield f"emotion {emotion!r} is in {owner[emotion]!r} {cure}"
            owner[emotion] = name
