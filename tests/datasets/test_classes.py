"""Class maps: who is in which class, who is out of the protocol, what a user may write."""

from __future__ import annotations

import pytest

from mer_search.datasets.casme2 import EMOTIONS
from mer_search.datasets.classes import BUILT_IN, CASME2_5, MEGC_3, resolve
from mer_search.errors import InputError


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_maps_use_every_class_they_name(name):
    class_map = resolve(name, ())
    assert set(class_map.of.values()) == set(class_map.names)


@pytest.mark.parametrize("emotion", ["fear", "sadness"])
def test_five_classes_leave_fear_and_sadness_out(emotion):
    assert CASME2_5.label("casme2", "sub01", "EP01", emotion) is None
    assert CASME2_5.label("casme2", "sub01", "EP01", "repression") == "repression"


@pytest.mark.parametrize(
    ("dataset", "emotion", "label"),
    [
        ("casme2", "repression", "negative"),
        ("casme2", "sadness", None),
        ("samm", "sadness", "negative"),
        ("samm", "Contempt", "negative"),
        ("smic", "positive", "positive"),
        ("casme2", " Happiness ", "positive"),
        ("casme2", "others", None),
    ],
)
def test_megc(dataset, emotion, label):
    assert MEGC_3.label(dataset, "sub01", "EP01", emotion) == label


@pytest.mark.parametrize("clip", [("sub04", "EP12_01f"), ("sub05", "EP09_05f")])
def test_megc_leaves_clips_out_in_one_data_set_only(clip):
    assert MEGC_3.label("casme2", *clip, "disgust") is None
    assert MEGC_3.label("other", *clip, "disgust") == "negative"


def test_user_map_keeps_the_order_of_classes():
    class_map = resolve({"strong": ["Surprise"], "weak": ("others", "fear")}, EMOTIONS)
    assert class_map.names == ("strong", "weak")
    assert class_map.label("casme2", "sub01", "EP01", "fear") == "weak"
    assert class_map.label("casme2", "sub01", "EP01", "disgust") is None


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("casme-5", r"data.classes: 'casme-5' is no class map; did you mean 'casme2-5'\?"),
        ({"a": ["fear"], "b": ["hapiness"]}, r"'b': the data set has no emotion 'hapiness'; did"),
        ({"a": ["fear"], "b": ["FEAR"]}, r"emotion 'fear' is in 'a' and in 'b'; keep it in one"),
        ({"a": ["fear", "fear"], "b": ["others"]}, r"'fear' is in 'a' twice; drop one"),
        ({"a": ["fear"], "b": []}, r"class 'b' has no emotions; list them or drop the class"),
        ({"a": ["fear"]}, r"a map needs two classes or more, this one has 1; add classes"),
        ({"a": ["fear"], "b": "others"}, r"class 'b' must list its emotions; write b: \[others\]"),
        (
            {"a": ["fear", "joy"], "b": ["fear"]},
            r"2 faults\n  - .+ no emotion 'joy'; choose from disgust, fear, .+\n  - emotion 'fear'",
        ),
    ],
)
def test_impossible_maps(classes, message):
    with pytest.raises(InputError, match=message):
        resolve(classes, EMOTIONS)
