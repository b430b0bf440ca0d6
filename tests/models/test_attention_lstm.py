"""The plain module against PyTorch's LSTM, and as something to export."""

from __future__ import annotations

import pytest
import torch

from mer_search.models.attention_lstm import AttentionLSTM


@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_are_those_of_pytorch(bidirectional: bool) -> None:
    module = AttentionLSTM(
        channels=7, classes=3, lstm_size=6, layers=2, bidirectional=bidirectional, pooling="mean"
    )
    rival = torch.nn.LSTM(7, 6, num_layers=2, bidirectional=bidirectional, batch_first=True)
    # PyTorch's gates: input, forget, candidate, output.
    order = torch.cat([torch.arange(12), torch.arange(18, 24), torch.arange(12, 18)])
    with torch.no_grad():
        for layer in range(2):
            for end, direction in (("", "forward"), ("_reverse", "backward"))[: 1 + bidirectional]:
                name, own = f"l{layer}{end}", f"lstm{layer}_{direction}"
                getattr(rival, f"weight_ih_{name}").copy_(getattr(module, f"{own}_x").t()[order])
                getattr(rival, f"weight_hh_{name}").copy_(getattr(module, f"{own}_h").t()[order])
                getattr(rival, f"bias_ih_{name}").copy_(getattr(module, f"{own}_b")[order])
                getattr(rival, f"bias_hh_{name}").zero_()
    x = torch.randn(5, 4, 1, 7)
    expected = rival(x[:, :, 0])[0].mean(1) @ module.class_w + module.class_b
    torch.testing.assert_close(module(x)[0], expected)


@pytest.mark.slow
def test_a_module_can_be_exported_for_any_number_of_clips() -> None:
    module = AttentionLSTM(
        channels=7, classes=3, lstm_size=6, attention="spatial-temporal", regions=4,
        bidirectional=True, score="self-attention", attention_size=8,
    ).eval()  # fmt: skip
    shapes = ({0: torch.export.Dim("clips")}, None)
    program = torch.export.export(module, (torch.randn(2, 3, 4, 7), None), dynamic_shapes=shapes)
    for clips in (1, 5):
        x = torch.randn(clips, 3, 4, 7)
        logits, maps = program.module()(x, None)
        torch.testing.assert_close(logits, module(x)[0])
        assert maps["temporal"].shape == (clips, 3)
        assert maps["spatial"].shape == (clips, 3, 4)
