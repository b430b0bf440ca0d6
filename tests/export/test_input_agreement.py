"""Exported models compute their inputs of a raw clip as the trainer did of the cached ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from test_portable import batched

from mer_search.config import Trial
from mer_search.datasets import DataSet, read, synthetic
from mer_search.export import ExportedModel
from mer_search.export.portable import KeyframeModel, save_portable
from mer_search.export.refit import Refit, refit
from mer_search.features.cache import Cache
from mer_search.loso.fine_tune import rebuild
from mer_search.models.ensemble import Ensemble

CLASSES = {"happy": ["happiness"], "surprised": ["surprise"]}
PATCHES = {"name": "patches", "grid": 2}
FACENET = {"name": "facenet-casia", "layer": "repeat_1", "weights": "random"}
Trained = Callable[..., tuple[ExportedModel, Refit]]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    root = tmp_path_factory.mktemp("inputs") / "data"
    synthetic.write(root, subjects=2, clips=3, classes=2, frames=7)
    return read("casme2", root, classes=CLASSES)


@pytest.fixture
def trained(faces: DataSet, tmp_path: Path) -> Trained:
    """A model refitted on the clips, as `export` makes it."""

    def train(attention: str, **features: Any) -> tuple[ExportedModel, Refit]:
        features = {"keyframes": {"count": 3}, **features}
        trial = Trial.model_validate({
            "features": features,
            "model": {"attention": attention, "lstm_size": 16, "attention_size": 8},
            "train": {"epochs": 15, "batch_size": 6, "learning_rate": 0.01},
        })  # fmt: skip
        fitted = refit(faces, trial, cache=Cache(tmp_path / "cache"))
        settings = {
            "trial": trial.model_dump(mode="json"), "classes": list(fitted.features.classes),
            "input": list(fitted.features.x.shape[1:]), "data": {"frames": fitted.frames},
        }  # fmt: skip
        return ExportedModel(settings, fitted.head, "cpu"), fitted

    return train


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attention", "features"),
    [
        ("temporal", {"backbone": PATCHES, "input": {"kind": "stacked"},
                      "keyframes": {"method": "tim", "count": 3}}),
        ("spatial", {"backbone": FACENET, "input": {"kind": "appearance+flow"},
                     "keyframes": {"method": "apex", "count": 2},
                     "augment": {"flip": True, "flip_scored": True}}),
        ("none", {"backbone": FACENET, "input": {"magnification": 3.0}, "reference": "onset"}),
    ],
)  # fmt: skip
def test_predictions_of_raw_clips_are_the_trainers(
    trained: Trained, faces: DataSet, tmp_path: Path, attention: str, features: Any
) -> None:
    model, fitted = trained(attention, **features)
    assert np.ptp(fitted.probs[:, 0]) > 0.1, "a model that says the same of all tests little"
    for n, clip in enumerate(faces.clips):
        found = model.predict(clip.frames[0].parent, onset=clip.onset or 0, apex=clip.apex)
        probs = list(found.probabilities.values())
        np.testing.assert_allclose(probs, fitted.probs[n], atol=1e-4)
        assert found.faces.shape[1:] == (160, 160, 3)
    if model.trial.features.augment.flip_scored:
        told = save_portable(model.trial, fitted.head, fitted.example, folder=tmp_path)
        assert told["missing"] == "a clip and its mirrored version are two runs of a file"
        assert fitted.features.mirrored


@pytest.mark.slow
def test_a_trained_block_answers_from_a_video_a_file_and_the_portable_module(
    trained: Trained, faces: DataSet
) -> None:
    learnt = {**FACENET, "layer": "block8", "trainable": "last-block"}
    model, fitted = trained("spatial", backbone=learnt, reference="onset")
    again = Ensemble([rebuild(model.trial, fitted.head.arguments)])
    again.load_state_dict(load_tensors(save_tensors(fitted.head.state_dict())))
    assert fitted.features.x.shape == (6, 4, 9, 1792), "the onset comes last"
    from_file = ExportedModel(model.settings, again, "cpu")
    for each in (model, from_file):
        for n, clip in enumerate(faces.clips):
            found = each.predict(clip.frames[0].parent)
            probs = list(found.probabilities.values())
            np.testing.assert_allclose(probs, fitted.probs[n], atol=1e-4)
            assert found.spatial_attention is not None
            assert found.spatial_attention.shape == (3, 9)
    given = [model.inputs(clip.frames[0].parent) for clip in faces.clips]
    assert given[0]["mix"].shape[1] == 4
    np.testing.assert_allclose(portable(model, fitted, given), fitted.probs, atol=1e-4)


def portable(model: ExportedModel, fitted: Refit, given: list[Any]) -> np.ndarray:
    """Probabilities by what both portable files are made of: writing them takes half a minute."""
    module = KeyframeModel(model.trial, fitted.head)
    frames, mix = (torch.from_numpy(each) for each in batched(given))
    assert mix.shape[1] == module.shown
    with torch.inference_mode():
        return module(frames, mix)[0].numpy()


@pytest.mark.slow
def test_portable_models_take_two_streams_side_by_side(trained: Trained, faces: DataSet) -> None:
    shown = {"kind": "appearance+flow", "flow": "dis", "magnification": 3.0}
    model, fitted = trained("spatial-temporal", backbone=PATCHES, input=shown,
                            augment={"flip": True, "affine": 1, "jitter": 1})  # fmt: skip
    assert fitted.features.x.shape == (6 * 4, 3, 4, 2 * 14 * 14 * 3)
    assert fitted.example.shape == (1, 28, 28, 6)
    given = [model.inputs(clip.frames[0].parent, apex=clip.apex) for clip in faces.clips]
    np.testing.assert_allclose(portable(model, fitted, given), fitted.probs, atol=1e-4)
