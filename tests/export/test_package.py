"""The folder: complete or absent, true to its search, and refused in words where it is not."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_search import Searched

from mer_search.errors import InputError, MerSearchError, WeightsMissing
from mer_search.export import export_trial, load
from mer_search.export import package as package_module
from mer_search.export.chosen import clips_of, read_chosen
from mer_search.loso.ledger import Ledger

Exported = Callable[[Searched, int], Path]


def export(searched: Searched, out: Path, number: int = 0) -> dict[str, object]:
    return export_trial(searched.ledger, number, out, cache=searched.cache, portable=False)


def test_settings_hold_the_model_its_scores_and_where_it_comes_from(
    maps: Searched, exported: Exported
) -> None:
    folder = exported(maps, 1)
    settings = json.loads((folder / "settings.json").read_text())
    assert {each.name for each in folder.iterdir()} == {
        "model.safetensors", "settings.json", "card.md", "mlflow",
    }  # fmt: skip
    assert settings["format"] == 1
    assert (settings["search"], settings["number"], settings["seed"]) == ("maps", 1, 0)
    assert settings["trial"]["model"]["attention"] == "spatial-temporal"
    assert settings["classes"] == list(maps.dataset.classes)
    assert settings["weights"] == {"name": "patches", "sha256": "none"}
    assert settings["data"]["digest"] == maps.dataset.digest
    assert settings["data"]["counts"] == {"calm": 8, "moved": 8}
    assert settings["data"]["subjects"] == ["toy/s0", "toy/s1", "toy/s2", "toy/s3"]
    assert settings["data"]["frames"] == [3, 3]
    assert settings["input"] == [3, 4, 32]
    scores, finished = settings["scores"], settings["scores"]["corrected"]["finished"]
    assert scores["objective"] == "uf1"
    assert (finished, scores["corrected"]["trials"]) == (3, 4)
    low, high = scores["corrected"]["interval"]
    assert low <= scores["corrected"]["uf1"] <= high


def test_the_best_trial_is_the_best_finished_one(maps: Searched, tmp_path: Path) -> None:
    chosen = read_chosen(maps.ledger, "best")
    uf1 = [read_chosen(maps.ledger, n).result.scores["uf1"] for n in range(3)]
    assert chosen.result.record.number == uf1.index(max(uf1))
    assert chosen.scores["corrected"]["trial"] == chosen.result.record.number
    told = export_trial(maps.ledger, "best", tmp_path / "best", cache=maps.cache, portable=False)
    assert told == {
        "model": str(tmp_path / "best"), "search": "maps", "trial": chosen.result.record.number,
        "clips": 16, "classes": ["calm", "moved"],
    }  # fmt: skip


def test_exporting_twice_gives_the_same_bytes(
    maps: Searched, exported: Exported, tmp_path: Path
) -> None:
    export(maps, tmp_path / "again", 1)
    for name in ("model.safetensors", "settings.json", "card.md"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (exported(maps, 1) / name).read_bytes()


def test_the_mlflow_model_is_written_without_network_or_pip(
    maps: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError(f"asked for {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    export(maps, tmp_path / "model")
    asked = (tmp_path / "model" / "mlflow" / "requirements.txt").read_text()
    assert "mer-search==" in asked
    assert "torch" not in asked


def test_a_folder_that_holds_something_is_left_alone(maps: Searched, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match=r"exists and is not empty; delete it or name another"):
        export(maps, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["note.txt"]
    with pytest.raises(InputError, match="exists and is not empty"):
        export(maps, tmp_path / "note.txt")
    with pytest.raises(InputError, match=r"inside: cannot be written \(Not a directory\); name"):
        export(maps, tmp_path / "note.txt" / "inside")


def test_an_empty_folder_is_filled(maps: Searched, tmp_path: Path) -> None:
    out = tmp_path / "empty"
    out.mkdir()
    export(maps, out)
    assert load(out).classes == ("calm", "moved")
    assert [each.name for each in tmp_path.iterdir()] == ["empty"]


def test_what_fails_half_way_leaves_nothing(
    maps: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MerSearchError("the refit failed")

    monkeypatch.setattr(package_module, "write", fail)
    with pytest.raises(MerSearchError, match="the refit failed"):
        export(maps, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_only_a_trial_with_all_folds_is_exported(
    maps: Searched, invented_search: Callable[..., Ledger], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"trial 3 is STOPPED with 1 of 4 folds; choose one that"):
        export(maps, tmp_path / "model", 3)
    with pytest.raises(InputError, match="there is no trial 9; numbers go from 0 to 3"):
        export(maps, tmp_path / "model", 9)
    running = invented_search(states=("RUNNING", "STOPPED"))
    with pytest.raises(InputError, match="none of the 2 trials has all folds yet"):
        export_trial(running, "best", tmp_path / "model", cache=maps.cache)
    with pytest.raises(InputError, match="holds no search 'nothing'; see `mer-search list`"):
        read_chosen(Ledger(str(tmp_path), "nothing"), "best")
    assert not (tmp_path / "model").exists()


def test_data_that_changed_since_is_refused(maps: Searched, tmp_path: Path) -> None:
    fewer = replace(maps.dataset, clips=maps.dataset.clips[1:])
    with pytest.raises(InputError, match=r"the data at .* changed since: digest \w{16}, was \w"):
        export_trial(maps.ledger, 0, tmp_path / "m", cache=maps.cache, dataset=fewer)
    assert not (tmp_path / "m").exists()


def test_all_that_differs_from_the_search_is_told_at_once(maps: Searched) -> None:
    chosen = read_chosen(maps.ledger, 0)
    record = {**chosen.record, "data": "0" * 64, "numerics": 0, "weights": {"patches": "f" * 64}}
    with pytest.raises(InputError, match="search maps: 3 faults") as told:
        clips_of(replace(chosen, record=record), maps.dataset)
    assert "was 0000000000000000; restore it, or run a new search on it" in str(told.value)
    assert "run with numerics version 0, this mer-search has 1" in str(told.value)
    assert f"weights of patches of SHA-256 {'f' * 64}, here is none" in str(told.value)


def test_a_device_that_is_not_there_is_refused_first(maps: Searched, exported: Exported) -> None:
    with pytest.raises(InputError, match=r"--device: 'nonsense' cannot be used .*; give cpu"):
        export_trial(maps.ledger, 0, Path("never"), cache=maps.cache, device="nonsense")
    with pytest.raises(InputError, match="--device: 'nonsense' cannot be used"):
        load(exported(maps, 0), device="nonsense")


@pytest.fixture
def copy(maps: Searched, exported: Exported, tmp_path: Path) -> Path:
    """A model that a test may break."""
    return Path(shutil.copytree(exported(maps, 0), tmp_path / "copy"))


def change(folder: Path, **settings: object) -> None:
    file = folder / "settings.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(InputError, match="is no folder; give the one that `mer-search export`"):
        load(tmp_path / "nowhere")
    with pytest.raises(
        InputError, match=r"holds no exported model, settings\.json and model\.safetensors missing"
    ):
        load(tmp_path)
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no exported model, model\.safetensors missing; give"):
        load(copy)


def test_files_that_were_damaged_are_told_in_one_message(copy: Path) -> None:
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    damaged = r"copy: the model is unreadable \(ValueError: model\.safetensors is not the file"
    with pytest.raises(MerSearchError, match=damaged):
        load(copy)
    for text in ("{", "[]", '{"format": 1}'):
        (copy / "settings.json").write_text(text)
        with pytest.raises(MerSearchError, match=r"copy: the model is unreadable .*; export it ag"):
            load(copy)


def test_another_format_or_other_numerics_need_another_version(copy: Path) -> None:
    change(copy, format=2)
    with pytest.raises(InputError, match=r"format 2 is not 1, .* use mer-search \d"):
        load(copy)
    change(copy, format=1, numerics=7)
    with pytest.raises(InputError, match="numerics 7 is not 1, the one that this mer-search reads"):
        load(copy)


def test_a_model_needs_the_face_network_it_was_trained_with(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = json.loads((copy / "settings.json").read_text())["trial"]
    trial["features"]["backbone"] = {"name": "vgg-face", "layer": "pool5"}
    change(copy, trial=trial, weights={"name": "vgg-face", "sha256": "a" * 64})
    monkeypatch.setenv("MER_SEARCH_CACHE", str(tmp_path / "home"))
    with pytest.raises(WeightsMissing, match=r"vgg-face: .* bring vgg_face_dag\.pth"):
        load(copy)
    monkeypatch.setattr("mer_search.features.plan.identity", lambda _: "b" * 64)
    with pytest.raises(InputError, match=f"weights of vgg-face: .* {'a' * 64}, here is {'b' * 64}"):
        load(copy)
