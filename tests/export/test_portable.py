"""The ONNX and torch.export files agree with the trainer, clip by clip and batch by batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_search import Searched

from mer_search.config import Trial
from mer_search.errors import InputError, MerSearchError
from mer_search.export import ExportedModel, card, export_trial, load
from mer_search.export import portable as portable_module
from mer_search.export.chosen import clips_of, read_chosen
from mer_search.export.portable import EXPORTED, ONNX, save_portable
from mer_search.export.refit import refit

Runtime = Callable[[NDArray[np.generic], NDArray[np.float32]], Sequence[NDArray[np.float32]]]


def runtimes(folder: Path) -> dict[str, Runtime]:
    """Both files, as somebody without mer-search opens them."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    program = torch.export.load(folder / EXPORTED).module()
    return {
        "onnx": lambda frames, mix: session.run(None, {"frames": frames, "mix": mix}),
        "torch": lambda frames, mix: [
            each.numpy() for each in program(torch.from_numpy(frames), torch.from_numpy(mix))
        ],
    }


def batched(
    clips: Sequence[dict[str, NDArray[np.generic]]],
) -> tuple[NDArray[np.generic], NDArray[np.float32]]:
    """Clips together; shorter ones are filled up with frames that no key frame uses."""
    longest = max(each["frames"].shape[1] for each in clips)

    def filled(values: NDArray[np.generic], axis: int) -> NDArray[np.generic]:
        room = [(0, 0)] * values.ndim
        room[axis] = (0, longest - values.shape[axis])
        return np.pad(values, room)

    frames = np.concatenate([filled(each["frames"], 1) for each in clips])
    return frames, np.concatenate([filled(each["mix"], 2) for each in clips]).astype(np.float32)


def check(searched: Searched, folder: Path, number: int, seeds: int) -> ExportedModel:
    """Every clip, alone and in batches of 3, against the trainer and the attention of `predict`."""
    chosen = read_chosen(searched.ledger, number)
    trained = refit(clips_of(chosen), chosen.trial, cache=searched.cache, seeds=seeds)
    model = load(folder)
    inputs = [model.inputs(clip) for clip in searched.clips]
    found = [model.predict(clip) for clip in searched.clips]
    outputs = json.loads((folder / "settings.json").read_text())["portable"]["outputs"]
    for run in runtimes(folder).values():
        for size in (1, 3):
            parts = [run(*batched(inputs[at : at + size])) for at in range(0, len(inputs), size)]
            answers = dict(zip(outputs, map(np.concatenate, zip(*parts, strict=True)), strict=True))
            np.testing.assert_allclose(answers["probabilities"], trained.probs, atol=1e-4)
            if "temporal" in answers:
                wanted = [each.temporal_attention for each in found]
                np.testing.assert_allclose(answers["temporal"], wanted, atol=1e-4)
            if "spatial" in answers:
                maps = [each.spatial_attention for each in found]
                np.testing.assert_allclose(answers["spatial"], np.stack(maps), atol=1e-4)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(("number", "seeds"), [(1, 1), (2, 2)])
def test_files_of_maps_agree_with_the_trainer(
    maps: Searched, tmp_path: Path, number: int, seeds: int
) -> None:
    folder = tmp_path / "model"
    export_trial(maps.ledger, number, folder, cache=maps.cache, seeds=seeds)
    model = check(maps, folder, number, seeds)
    told = model.settings["portable"]
    assert told["files"] == [ONNX, EXPORTED]
    assert told["frames"] == ["float32", 8, 8, 2]
    text = (folder / "card.md").read_text()
    assert "take `frames` [clips, T, 8 x 8 x 2], float32, and `mix` [clips, 3, T]" in text
    assert f"give {', '.join(told['outputs'])}:" in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_files_with_a_face_network_agree_with_the_trainer(faces: Searched, tmp_path: Path) -> None:
    """Interpolated key frames less the onset: every kind of row in `mix`."""
    folder = tmp_path / "model"
    export_trial(faces.ledger, 1, folder, cache=faces.cache)
    model = check(faces, folder, 1, 1)
    assert model.settings["portable"]["frames"] == ["uint8", 160, 160, 3]


@pytest.mark.slow
def test_a_model_of_annotated_apexes_takes_an_apex_or_says_which_frame_it_took(
    maps: Searched, exported: Callable[[Searched, int], Path], tmp_path: Path
) -> None:
    settings = load(exported(maps, 0)).settings
    trial = json.loads(json.dumps(settings["trial"]))
    trial["features"]["keyframes"] = {"method": "apex", "count": 2}
    clips = tuple(replace(clip, apex=1) for clip in maps.dataset.clips)
    dataset, wanted = replace(maps.dataset, clips=clips), Trial.model_validate(trial)
    trained = refit(dataset, wanted, cache=maps.cache)
    size = list(trained.features.x.shape[1:])
    model = ExportedModel({**settings, "trial": trial, "input": size}, trained.head, "cpu")
    given = model.predict(maps.clips[0], apex=1)
    assert list(given.probabilities.values()) == pytest.approx(trained.probs[0], abs=1e-4)
    assert not [note for note in given.notes if "apex" in note]
    assert any("no apex was given; frame" in each for each in model.predict(maps.clips[0]).notes)
    with pytest.raises(InputError, match=r"s0c0: apex must lie in 0\.\.2, found 9"):
        model.predict(maps.clips[0], apex=9)
    save_portable(wanted, trained.head, trained.example, folder=tmp_path)
    inputs = batched([model.inputs(clip, apex=1) for clip in maps.clips])
    for run in runtimes(tmp_path).values():
        np.testing.assert_allclose(run(*inputs)[0], trained.probs, atol=1e-4)


def test_bf16_features_have_no_portable_files_and_the_card_says_why(
    maps: Searched, exported: Callable[[Searched, int], Path], tmp_path: Path
) -> None:
    model = load(exported(maps, 1))
    backbone = model.trial.features.backbone.model_copy(update={"precision": "bf16"})
    features = model.trial.features.model_copy(update={"backbone": backbone})
    trial = model.trial.model_copy(update={"features": features})
    frames = np.zeros((1, 8, 8, 2), np.float32)
    told = save_portable(trial, model.head, frames, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    text = card.text({**model.settings, "portable": told})
    assert "no ONNX or torch.export file: other runtimes round bf16 features differently." in text
    assert "exported with --no-portable" in card.text(model.settings)


@pytest.mark.slow
def test_a_file_that_answers_differently_is_not_handed_out(
    maps: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portable_module, "ALIKE", -1.0)
    with pytest.raises(MerSearchError, match=r"keyframes\.onnx answers .* apart from the model"):
        export_trial(maps.ledger, 0, tmp_path / "model", cache=maps.cache)
    assert list(tmp_path.iterdir()) == []
