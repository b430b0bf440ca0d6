"""Scores per data set come from the same pooled predictions: the field's published counts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mer_search.loso.metrics import OBJECTIVES, confusion
from mer_search.report.contract import per_dataset
from mer_search.report.table import datasets

# Truth by prediction of one model on MEGC 2019 and what was published for it.
COUNTS = {
    "casme2": [[83, 5, 0], [12, 19, 1], [2, 0, 23]],
    "samm": [[82, 7, 3], [11, 13, 2], [5, 2, 8]],
    "smic": [[54, 10, 6], [17, 30, 4], [14, 1, 28]],
}
KNOWN = {"casme2": (0.8382, 0.8190), "samm": (0.6588, 0.6415), "smic": (0.6801, 0.6703)}


def test_the_parts_of_the_composite_are_scored_from_its_pooled_predictions():
    rows = [
        (name, truth, guess)
        for name, table in COUNTS.items()
        for truth, line in enumerate(table)
        for guess, count in enumerate(line)
        for _ in range(count)
    ]
    np.random.default_rng(0).shuffle(rows)
    label = np.array([int(truth) for _, truth, _ in rows])
    probs = np.eye(3)[[int(guess) for _, _, guess in rows]]
    # One subject name in all three: data sets never mix.
    protocol = SimpleNamespace(
        subject=[(name, "s01") for name, _, _ in rows], label=label, classes=("n", "p", "s")
    )
    account = SimpleNamespace(protocol=protocol, best=SimpleNamespace(probs=probs))
    found = per_dataset(account)
    assert {name: part["clips"] for name, part in found.items()} == {
        "casme2": 145, "samm": 133, "smic": 164,
    }  # fmt: skip
    for name, (uf1, uar) in KNOWN.items():
        assert found[name]["uf1"] == pytest.approx(uf1, abs=5e-5)
        assert found[name]["uar"] == pytest.approx(uar, abs=5e-5)
    pooled = confusion(label, probs.argmax(1), 3)
    assert OBJECTIVES["uf1"](pooled) == pytest.approx(0.7353, abs=5e-5)
    assert OBJECTIVES["uar"](pooled) == pytest.approx(0.7186, abs=5e-5)
    (told,) = datasets(account)
    assert "casme2 UF1 .838 UAR .819 accuracy .862; samm UF1 .659" in told
