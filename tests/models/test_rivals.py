"""One contract for every rival: a bank is F plain modules, rebuilt from arguments and weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mer_search.config import USES
from mer_search.errors import InputError
from mer_search.models.catalogue import (
    HEADS,
    build_bank,
    build_plain,
    count_parameters,
    fold_bytes,
)
from mer_search.models.head import Head, load_published
from mer_search.models.rivals.cells import Recurrent
from mer_search.models.rivals.norms import OwnNorm
from mer_search.models.stacked import StackedBank

F, B, K, D, C = 3, 5, 4, 6, 3
SIDE = 7
VECTORS = {"channels": D, "classes": C, "keyframes": K, "regions": 1}
PIXELS = {"channels": 3, "classes": C, "keyframes": 2, "regions": SIDE**2}
BIG = {"channels": 3, "classes": 3, "keyframes": 1, "regions": 28**2}
DROPS = {"dropout": 0.3, "input_dropout": 0.2}
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("mean-pool", VECTORS),
    ("mean-pool", {**VECTORS, **DROPS, "projection": 5}),
    ("gru", {**VECTORS, "lstm_size": 6, "pooling": "mean"}),
    ("gru", {**VECTORS, **DROPS, "lstm_size": 6, "layers": 2, "bidirectional": True,
             "projection": 5}),
    ("elrcn", {**VECTORS, **DROPS, "lstm_size": 6, "layers": 2}),
    ("ststnet", {**PIXELS, "dropout": 0.5}),
    ("off-apexnet", {**PIXELS, "dropout": 0.5}),
    ("cnn-3d", {**PIXELS, "dropout": 0.5}),
    ("transformer", {**VECTORS, **DROPS, "attention_size": 8, "heads": 2, "layers": 2}),
    ("majority", VECTORS),
    ("lbp-top-svm", {**PIXELS, "keyframes": 9}),
    ("bi-woof-svm", {**PIXELS, "regions": 81}),
]  # fmt: skip
every_option = pytest.mark.parametrize(("name", "options"), OPTIONS, ids=lambda o: str(o)[:60])


def different_folds(name: str, options: dict[str, Any]) -> tuple[StackedBank, torch.Tensor]:
    """A bank whose folds differ in weights and statistics, and a minibatch."""
    bank = build_bank(name, F, seed=0, **options)
    assert isinstance(bank, StackedBank)
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in bank.state_dict().values():
            value.add_(torch.rand(value.shape, generator=source), alpha=0.3)
    sizes = (B, options["keyframes"], options["regions"], options["channels"])
    return bank, torch.randn(sizes, generator=source)


def test_every_rival_is_among_them_and_says_what_it_uses() -> None:
    assert {name for name, _ in OPTIONS} == HEADS.keys()
    for name, options in OPTIONS:
        plain = build_plain(name, **options)
        assert plain.arguments.keys() - VECTORS.keys() == set(USES[name]) - {"regions"}


@every_option
def test_output_statistics_and_gradient_equal_those_of_the_plain_modules(
    name: str, options: dict[str, Any]
) -> None:
    bank, x = different_folds(name, options)
    masks = bank.masks(B, 0)
    assert masks.keys() == {n for n, (rate, _) in bank.pattern[0].dropout().items() if rate}
    own = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]]).bool()
    members = [bank.member(fold) for fold in range(F)]
    logits, maps = bank(x, masks, own)
    assert logits.shape == (F, B, C)
    if not list(bank.parameters()):
        return
    (logits.square() * own[:, :, None]).sum().backward()
    for fold, module in enumerate(members):
        alone, seen = module(x, masks, own[fold])
        torch.testing.assert_close(logits[fold], alone, atol=1e-5, rtol=1e-5)
        assert tuple(sorted(maps)) == tuple(sorted(seen)) == module.maps
        (alone.square() * own[fold][:, None]).sum().backward()
        for key, value in module.named_parameters():
            together = bank.get_parameter(key.replace(".", "/")).grad
            assert together is not None
            room = 1e-5 * float(value.grad.abs().max()) + 1e-5
            torch.testing.assert_close(together[fold], value.grad, atol=room, rtol=1e-4, msg=key)
        for key, value in module.named_buffers():
            assert value.isfinite().all()
            stacked = bank.get_buffer(key.replace(".", "/"))[fold]
            torch.testing.assert_close(stacked, value, atol=1e-5, rtol=1e-5, msg=key)


@every_option
def test_a_member_answers_as_the_bank_and_is_rebuilt(name: str, options: dict[str, Any]) -> None:
    bank, x = different_folds(name, options)
    module = bank.member(1)
    again = build_plain(name, **module.arguments)
    again.load_state_dict(module.state_dict())
    torch.testing.assert_close(again(x)[0], bank(x)[0][1], atol=1e-5, rtol=1e-5)


@every_option
def test_first_weights_depend_on_the_seed_alone(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(5)
    one, state = build_bank(name, 2, seed=3, **options), torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state)
    same, other = (build_bank(name, 1, seed=seed, **options) for seed in (3, 4))
    for key, value in one.state_dict().items():
        assert torch.equal(value[0], value[1])
        assert torch.equal(value[0], same.state_dict()[key][0])
    drawn = dict(one.named_parameters())
    assert not drawn or any(not torch.equal(v[0], other.get_parameter(k)[0])
                            for k, v in drawn.items())  # fmt: skip


@every_option
def test_size_and_memory_are_told_without_building(name: str, options: dict[str, Any]) -> None:
    numbers = sum(value.numel() for value in build_plain(name, **options).parameters())
    assert count_parameters(name, **options) == numbers
    few, many = (fold_bytes(name, batch=batch, clipped=False, **options) for batch in (1, 64))
    assert many > few >= 4 * 4 * numbers


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_states_are_those_of_pytorch(kind: str, bidirectional: bool) -> None:
    ours = Recurrent(kind, D, 5, layers=2, bidirectional=bidirectional)
    theirs = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind]
    rival = theirs(D, 5, num_layers=2, bidirectional=bidirectional, batch_first=True)
    ours.load_state_dict(rival.state_dict())
    x = torch.randn(B, K, D)
    torch.testing.assert_close(ours(x), rival(x)[0])


def test_elrcn_takes_weights_of_an_lstm_and_two_dense_layers() -> None:
    plain = build_plain("elrcn", **VECTORS, lstm_size=5, layers=2)
    assert isinstance(plain, Head)
    lstm = torch.nn.LSTM(D, 5, num_layers=2, batch_first=True)
    hidden, fc = torch.nn.Linear(5, 128), torch.nn.Linear(128, C)
    state = {f"lstm.{name}": value for name, value in lstm.state_dict().items()}
    for name, layer in (("hidden", hidden), ("fc", fc)):
        state |= {f"{name}.{end}": value for end, value in layer.state_dict().items()}
    load_published(plain, state)
    x = torch.randn(B, K, 1, D)
    expected = fc(hidden(lstm(x[:, :, 0])[0][:, -1]).relu())
    torch.testing.assert_close(plain(x)[0], expected)


def test_layers_of_the_transformer_are_those_of_pytorch() -> None:
    ours = build_plain("transformer", **VECTORS, attention_size=8, heads=2, layers=2)
    rival = torch.nn.TransformerEncoderLayer(
        8, 2, dim_feedforward=16, batch_first=True, norm_first=True
    ).eval()
    y = torch.randn(B, K, 8)
    ours.layers[1].load_state_dict(rival.state_dict())
    torch.testing.assert_close(ours.layers[1](y, None, "layer1"), rival(y))


def test_heads_that_do_not_divide_the_size() -> None:
    with pytest.raises(InputError, match="attention_size 6 cannot be shared by 4 heads; choose a"):
        build_plain("transformer", **VECTORS, attention_size=6)


def test_off_apexnet_counts_what_its_public_form_counts_and_takes_its_weights() -> None:
    plain = build_plain("off-apexnet", **BIG)
    assert isinstance(plain, Head)
    assert sum(value.numel() for value in plain.parameters()) == 2_664_475
    shapes = {"0": (1024, 1568), "3": (1024, 1024), "6": (3, 1024)}
    state = {f"dense.{n}.weight": torch.randn(shape) / 40 for n, shape in shapes.items()}
    state |= {f"dense.{n}.bias": torch.randn(shape[0]) for n, shape in shapes.items()}
    for stream in ("cnn1", "cnn2"):
        for n, shape in (("conv1", (6, 1, 5, 5)), ("conv2", (16, 6, 5, 5))):
            state[f"{stream}.{n}.weight"] = torch.randn(shape) / 5
            state[f"{stream}.{n}.bias"] = torch.randn(shape[0])
    load_published(plain, state)
    x = torch.randn(2, 1, 28, 28, 3)
    flat = []
    for n in (1, 2):
        y = x[:, :, :, :, n - 1]
        for conv in ("conv1", "conv2"):
            w, b = state[f"cnn{n}.{conv}.weight"], state[f"cnn{n}.{conv}.bias"]
            y = torch.nn.functional.max_pool2d(
                torch.nn.functional.conv2d(y, w, b, padding=2).relu(), 2
            )
        flat.append(y.flatten(1))
    y = torch.cat(flat, 1)
    for n in ("0", "3", "6"):
        y = y @ state[f"dense.{n}.weight"].t() + state[f"dense.{n}.bias"]
        y = y if n == "6" else y.relu()
    torch.testing.assert_close(plain(x.flatten(2, 3))[0], y, atol=1e-3, rtol=1e-4)


def test_maps_that_are_no_flow() -> None:
    with pytest.raises(InputError, match=r"first two channels are the flow, found 5x5 with 1"):
        build_plain("off-apexnet", channels=1, classes=3, keyframes=1, regions=25)


@pytest.mark.parametrize("name", ["lbp-top-svm", "bi-woof-svm"])
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_machines_separate_what_can_be_separated(name: str, classes: int) -> None:
    options = {"channels": 3, "classes": 3, "keyframes": 9, "regions": 81}
    label = torch.arange(24) % classes
    x = torch.randn(24, 9, 9, 9, 3, generator=torch.Generator().manual_seed(0))
    ramp = torch.arange(9.0) / 2
    for n, steps in enumerate((ramp[:, None, None], ramp[None, :, None], ramp[None, None, :])):
        x[label == n] += 4 * steps[..., None] if name == "lbp-top-svm" else 0
        x[label == n, ..., n % 2] += 6 * (n - 1)
    bank = build_bank(name, 1, seed=0, **options)
    assert isinstance(bank, StackedBank)
    x = x.flatten(2, 3)
    bank.fit(x, label, torch.ones(1, 24).bool())
    assert torch.equal(bank(x)[0][0].argmax(-1), label)
    assert torch.equal(bank.member(0)(x)[0].argmax(-1), label)


def test_patterns_are_those_of_scikit_image_where_radii_are_equal() -> None:
    from skimage.feature import local_binary_pattern

    plain = build_plain("lbp-top-svm", channels=1, classes=2, keyframes=3, regions=144)
    video = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))
    found = plain.describe(video.flatten(1)[None, :, :, None]).view(3, 16, 5, 5)
    assert torch.allclose(found.sum(1), torch.ones(3, 5, 5))
    codes = local_binary_pattern((video[1].numpy() * 1e6).astype(int), 4, 1)[1:-1, 1:-1]
    expected = sorted((codes[2 * r : 2 * r + 2, 2 * c : 2 * c + 2] == code).mean()
                      for r in range(5) for c in range(5) for code in range(16))  # fmt: skip
    torch.testing.assert_close(
        found[0].flatten().sort()[0], torch.tensor(expected), check_dtype=False
    )


def test_maps_without_such_a_descriptor() -> None:
    with pytest.raises(InputError, match="lbp-top-svm takes three keyframes or more of 7x7 pixels"):
        build_plain("lbp-top-svm", channels=3, classes=3, keyframes=2, regions=81)
    with pytest.raises(InputError, match="bi-woof-svm takes maps of flow in x and y and strain, 8"):
        build_plain("bi-woof-svm", channels=3, classes=3, keyframes=2, regions=49)


def test_majority_answers_with_the_shares_of_the_training_clips() -> None:
    bank = build_bank("majority", 2, seed=0, channels=1, classes=3)
    assert isinstance(bank, StackedBank)
    label = torch.tensor([0, 0, 1, 2])
    own = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 1]]).bool()
    bank.fit(torch.zeros(4, 1, 1, 1), label, own)
    probs = bank(torch.zeros(4, 1, 1, 1))[0].softmax(-1)
    expected = torch.tensor([[2 / 3, 1 / 3, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(probs[:, 0], expected, atol=1e-5, rtol=0)


def test_normalisation_is_that_of_pytorch_where_all_clips_are_its_own() -> None:
    ours, rival = OwnNorm(4), torch.nn.BatchNorm2d(4)
    for _ in range(3):
        y = 2 * torch.randn(6, 4, 5, 5) + 1
        torch.testing.assert_close(ours(y, torch.ones(6).bool()), rival(y))
    torch.testing.assert_close(ours.running_mean, rival.running_mean)
    torch.testing.assert_close(ours.running_var, rival.running_var)
    torch.testing.assert_close(ours(y), rival.eval()(y))


def test_normalisation_sees_no_other_clip_whatever_it_holds() -> None:
    own, before = torch.tensor([1, 0, 1]).bool(), OwnNorm(2)
    y = torch.randn(3, 2, 4)
    expected, after = before(y, own), OwnNorm(2)
    y[1] = float("inf")
    assert torch.equal(after(y, own)[[0, 2]], expected[[0, 2]])
    assert torch.equal(after.running_var, before.running_var)


def test_ststnet_counts_what_its_authors_count() -> None:
    named = dict(build_plain("ststnet", **BIG).named_parameters())
    numbers = {name: value.numel() for name, value in named.items()}
    assert sum(numbers.values()) == 1683
    assert sum(n for name, n in numbers.items() if not name.startswith("bn")) == 1651


class Published(torch.nn.Module):
    """The published layout of STSTNet's weights, invented here."""

    def __init__(self) -> None:
        super().__init__()
        for n, filters in enumerate((3, 5, 8), 1):
            setattr(self, f"conv{n}", torch.nn.Conv2d(3, filters, 3, padding=2))
            setattr(self, f"bn{n}", torch.nn.BatchNorm2d(filters))
        self.fc = torch.nn.Linear(400, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = []
        for n in (1, 2, 3):
            y = self.get_submodule(f"bn{n}")(self.get_submodule(f"conv{n}")(x).relu())
            found.append(torch.nn.functional.max_pool2d(y, 3, 3, 1))
        return self.fc(torch.nn.functional.avg_pool2d(torch.cat(found, 1), 2).flatten(1))


def test_ststnet_takes_published_weights() -> None:
    rival = Published()
    rival(torch.randn(4, 3, 28, 28))  # gives the statistics values
    ours, x = build_plain("ststnet", **BIG), torch.randn(2, 1, 28, 28, 3)
    assert isinstance(ours, Head)
    load_published(ours, rival.state_dict())
    expected = rival.eval()(x[:, 0].permute(0, 3, 1, 2))
    torch.testing.assert_close(ours(x.flatten(2, 3))[0], expected)


def test_weights_of_another_model_are_refused() -> None:
    state = Published().state_dict()
    head = build_plain("ststnet", **BIG)
    assert isinstance(head, Head)
    with pytest.raises(InputError, match=r"lacks bn1.bias; give this model's"):
        load_published(head, {n: v for n, v in state.items() if n != "bn1.bias"})
    with pytest.raises(InputError, match=r"fc.bias is \(5,\), the model's is \(3,\)"):
        load_published(head, state | {"fc.bias": torch.zeros(5)})
    pool = build_plain("mean-pool", **VECTORS)
    assert isinstance(pool, Head)
    with pytest.raises(InputError, match="2 faults") as told:
        load_published(pool, {"fc.weight": torch.zeros(C, D), "more": torch.zeros(1)})
    assert "lacks fc.bias" in str(told.value)
    assert "holds more, which the model has not" in str(told.value)


def test_regions_that_are_no_square_of_pixels() -> None:
    with pytest.raises(InputError, match=r"ststnet takes maps pixel by pixel but .* 50 regions"):
        build_plain("ststnet", channels=3, classes=3, keyframes=1, regions=50)
