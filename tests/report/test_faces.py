"""Attention over real faces: which clips are shown, and that the page holds them only if asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from test_attention import with_maps
from typer.testing import CliRunner

from mer_search.cli import app
from mer_search.errors import InputError
from mer_search.loso.ledger import Ledger
from mer_search.loso.result import read_results
from mer_search.report import faces, page
from mer_search.report.compare import compare

Make = Callable[..., Ledger]


def invented_faces(ledger: Ledger) -> list[faces.Face]:
    """Grey images of three brightnesses for the examples of trial 3."""
    with_maps(ledger, 3)
    picked = faces.examples(read_results(ledger)[3])
    return [faces.Face(each, np.full((32, 32, 3), 60 * (c + 1), np.uint8))
            for c, each in enumerate(picked)]  # fmt: skip


def test_each_class_is_shown_by_the_clip_the_trial_is_surest_of(invented_search: Make) -> None:
    ledger = invented_search()
    found, result = invented_faces(ledger), read_results(ledger)[3]
    assert [each.example.label for each in found] == list(result.protocol.classes)
    for c, each in enumerate(found):
        clip = result.protocol.keys.index(each.example.key)
        of_class = result.probs[result.protocol.label == c, c]
        assert result.protocol.label[clip] == c
        assert each.example.probability == pytest.approx(of_class.max())
        assert each.example.weights.argmax() == c


def test_a_trial_without_spatial_attention_has_no_faces(invented_search: Make) -> None:
    with pytest.raises(InputError, match="trial 0 has no attention over regions of a face; choose"):
        faces.examples(read_results(invented_search())[0])


@pytest.mark.browser
def test_a_page_holds_faces_only_where_asked(
    invented_search: Make, browser: Callable[..., WebDriver], tmp_path: Path
) -> None:
    ledger = invented_search()
    found, shown = compare([ledger]), invented_faces(ledger)
    assert "base64,/9j" not in page.render(found)
    page.write(found, tmp_path / "faces.html", faces={ledger.name: shown})
    opened = browser()
    opened.get((tmp_path / "faces.html").as_uri())
    drawn = (By.CSS_SELECTOR, "#s0-faces .imagelayer image")
    WebDriverWait(opened, 60).until(lambda driver: len(driver.find_elements(*drawn)) == 3)
    assert shown[0].example.key in opened.find_element(By.TAG_NAME, "main").text
    assert opened.get_log("browser") == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--faces"], "--faces draws into a report; name one with --html FILE"),
        (["--faces", "--html", "x.html"], "trial 3 has no attention over regions of a face"),
    ],
)
def test_faces_that_cannot_be_drawn(invented_search: Make, more: list[str], told: str) -> None:
    ledger = invented_search()
    done = CliRunner().invoke(app, ["compare", ledger.name, "--store", ledger.store, *more])
    assert isinstance(done.exception, InputError)
    assert told in str(done.exception)
