"""A search-space file is read whole or refused whole, with every fault in one message."""

import re
from pathlib import Path

import pytest
import yaml

from mer_search import space_file
from mer_search.errors import InputError

SMALL = {
    "name": "small",
    "data": {"reader": "casme2", "root": "here"},
    "features": {"keyframes": {"count": {"int": [4, 8]}}},
    "model": {
        "attention": {"choice": ["none", "temporal"]},
        "score": {"choice": ["dot", "additive"], "when": {"attention": ["temporal"]}},
    },
}


def with_changes(**sections: object) -> dict[str, object]:
    return {**SMALL, **sections}


def faults_of(tree: dict[str, object]) -> str:
    with pytest.raises(InputError) as caught:
        space_file.from_dict(tree)
    return str(caught.value)


def test_every_shipped_space_resolves_and_survives_its_own_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = space_file.shipped()
    papers = {f"{data}_paper" for data in ("casme2", "samm", "smic", "megc2019")}
    assert set(names) >= {"quickstart", "casme2_laptop", "casme2_inputs", "casme2_fine_tuned",
                          "megc2019_flow_maps", *papers}  # fmt: skip
    assert sum(name.startswith("leaderboard/") for name in names) == 10
    assert sum(name.startswith("leaderboard_casme2/") for name in names) == 9
    assert len(names) == 28
    for name, file in names.items():
        for part in ("# Purpose: ", "# Command: ", "# Cost: "):
            assert f"\n{part}" in f"\n{file.read_text()}", name
        for variable in re.findall(r"\$\{(\w+)\}", file.read_text()):
            monkeypatch.setenv(variable, "somewhere")
        experiment = space_file.read(name)
        assert space_file.from_dict(experiment.as_file()) == experiment


def test_the_fragment_of_docs_search_is_a_search() -> None:
    page = (Path(__file__).parent.parent / "docs" / "search.md").read_text()
    fragment = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    wide = {"attention": {"choice": ["none", "temporal"]}, "lstm_size": {"choice": [64, 128]}}
    search = space_file.from_dict(with_changes(model=wide, **fragment)).search
    assert search.first == ({"model.attention": "temporal", "model.lstm_size": 128},)
    assert set(fragment["search"]) == search.model_fields_set


def test_when_is_written_in_full_and_looks_back() -> None:
    experiment = space_file.from_dict(SMALL)
    assert experiment.domains["model.score"].when == {"model.attention": ("temporal",)}
    paths = [path for path, _ in experiment.active({"model.attention": "none"})]
    assert paths == ["features.keyframes.count", "model.attention"]


def test_a_trial_takes_fixed_values_and_its_own() -> None:
    trial = space_file.from_dict(SMALL).trial({"features.keyframes.count": 5})
    assert trial.features.keyframes.count == 5
    assert trial.features.backbone.layer == "block8"


def test_identity_leaves_out_root_and_trials() -> None:
    one = space_file.from_dict(SMALL)
    other = space_file.from_dict(
        with_changes(data={"reader": "casme2", "root": "there"}, search={"trials": 3})
    )
    assert one.digest == other.digest
    assert one.digest != space_file.from_dict(with_changes(search={"seed": 3})).digest


def test_all_faults_come_in_one_message_with_the_nearest_spelling() -> None:
    told = faults_of(
        {
            "name": "a b",
            "data": {"reader": "casme2", "rot": "x"},
            "modle": {},
            "model": {"lstm_sise": {"choice": [1]}, "lstm_size": 0, "attention": "spacial"},
            "train": {"epochs": {"int": [9, 3]}, "learning_rate": {"float": [0, 1], "log": True}},
            "search": {"sampler": "tpee"},
        }
    )
    for part in (
        "name 'a b' must be letters",
        "data.rot is no setting; did you mean 'root'?",
        "data.root is missing; add it",
        "'modle' is no section; did you mean 'model'?",
        "model.lstm_sise is a domain on a setting that does not exist; did you mean 'lstm_size'?",
        "model.lstm_size: 0 is refused",
        "model.attention: 'spacial' is not known; did you mean 'spatial'?",
        "train.epochs: the range [9, 3] is empty; write [low, high]",
        "train.learning_rate: log needs a lower end above 0, not 0",
        "search.sampler: 'tpee' is not known; did you mean 'tpe'?",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"attention": {"choice": []}}, "choice needs at least one value"),
        ({"attention": {"choice": ["none", "none"]}}, "names a value twice"),
        ({"lstm_size": {"int": [4]}}, "int [4] must be [low, high]"),
        ({"lstm_size": {"int": [4, 8], "step": 0}}, "step 0 must be 1 or more"),
        ({"lstm_size": {"int": [4, 8], "step": 2, "log": True}}, "log and step exclude"),
        ({"lstm_size": {"ints": [4, 8]}}, "is no domain; write choice, int or float"),
        ({"lstm_size": {"int": [0, 8]}}, "model.lstm_size: 0 is refused"),
        (
            {"attention": {"choice": ["none", "temporal"]},
             "score": {"choice": ["dot"], "when": {"attention": ["temporl"]}}},
            "which model.attention never is; did you mean 'temporal'?",
        ),
        ({"score": {"choice": ["dot"], "when": {"atention": ["none"]}}}, "when names 'atention'"),
        (
            {"score": {"choice": ["dot"], "when": {"layers": [1]}},
             "layers": {"choice": [1], "when": {"score": ["dot"]}}},
            "when of model.layers, model.score goes in a circle",
        ),
        ([1], "model: [1] must be a map of settings"),
    ],
)  # fmt: skip
def test_a_domain_that_cannot_be(model: object, message: str) -> None:
    assert message in faults_of(with_changes(model=model))


def test_settings_that_contradict_each_other_in_any_combination() -> None:
    told = faults_of(
        with_changes(
            features={"backbone": {"layer": {"choice": ["embedding", "block8"]}}},
            model={"attention": {"choice": ["none", "spatial"]}},
        )
    )
    assert "model.attention 'spatial' needs several regions but" in told
    told = faults_of(with_changes(features={"backbone": {"layer": "pool5"}}))
    assert "'pool5' is not a layer of facenet-casia; choose from block8" in told
    told = faults_of(with_changes(features={"backbone": {"name": "patches", "grid": 8}}))
    assert "features.input.size 28 is not divided by features.backbone.grid 8" in told
    told = faults_of(
        with_changes(features={"keyframes": {"method": "tim"}, "augment": {"jitter": 1}})
    )
    assert "features.augment.jitter moves key frames, features.keyframes.method 'tim' picks" in told


def test_a_domain_that_the_chosen_model_does_not_have() -> None:
    model = {"name": {"choice": ["attention-lstm", "gru"]}, "lstm_size": {"choice": [8, 16]},
             "attention": {"choice": ["none", "temporal"]}}  # fmt: skip
    told = faults_of(with_changes(model=model))
    assert "model.attention is a domain on a setting that gru does not have" in told
    assert "or write when: {name: [...]}" in told
    assert "lstm_size is" not in told
    model["attention"] = {**model["attention"], "when": {"name": "attention-lstm"}}
    assert space_file.from_dict(with_changes(model=model)).name == "small"


def test_a_value_that_the_chosen_model_does_not_have() -> None:
    told = faults_of(with_changes(model={"name": "mean-pool", "lstm_size": 64, "layers": 2}))
    for name, value in (("layers", 2), ("lstm_size", 64)):
        assert f"model.{name} {value} is no setting of mean-pool; leave it out, mean-pool" in told
    assert "takes projection, regions, dropout, input_dropout" in told


def test_a_model_of_maps_needs_maps() -> None:
    for backbone in ({"name": "vgg-face"}, {"name": "patches", "grid": 1}):
        features = {"align": {"method": "none"}, "backbone": backbone}
        told = faults_of(with_changes(model={"name": "ststnet"}, features=features))
        assert "model.name 'ststnet' takes maps pixel by pixel; set features.backbone to" in told


def test_models_that_came_later_left_the_digest_of_a_search_as_it_was() -> None:
    assert space_file.from_dict(SMALL).digest == "411c5188fe3e5652"


def test_a_manifest_without_keyframes_uses_all_rows() -> None:
    tree = {"name": "maps", "data": {"reader": "manifest", "root": "x.csv"},
            "features": {"backbone": {"name": "patches"}, "align": {"method": "none"}}}  # fmt: skip
    assert space_file.from_dict(tree).fixed["features.keyframes.method"] == "all"


def test_set_changes_a_leaf_and_is_checked_like_the_file(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(SMALL))
    experiment = space_file.read(file, ["train.epochs=3", "search.trials=2"])
    assert (experiment.fixed["train.epochs"], experiment.search.trials) == (3, 2)
    with pytest.raises(InputError, match="must be key=value"):
        space_file.read(file, ["train.epochs"])
    with pytest.raises(InputError, match="'name' holds a value, not settings"):
        space_file.read(file, ["name.x=1"])


def test_files_that_are_not_search_spaces(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(InputError, match="is not YAML"):
        space_file.read(broken)
    broken.write_text("just words")
    with pytest.raises(InputError, match="holds no settings"):
        space_file.read(broken)
    with pytest.raises(InputError, match="did you mean 'quickstart'"):
        space_file.read("quickstrat")


def test_an_environment_variable_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_ROOT", raising=False)
    told = faults_of(with_changes(data={"reader": "casme2", "root": "${NO_SUCH_ROOT}"}))
    assert "needs the environment variable NO_SUCH_ROOT, which is not set" in told
