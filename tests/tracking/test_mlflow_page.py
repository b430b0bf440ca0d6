"""A search as people meet it: MLflow's own page, served on loopback, in a browser."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

from mer_search.cli import app
from mer_search.loso.ledger import Ledger
from mer_search.tracking.place import links

STATES = ("COMPLETE",) * 8 + ("STOPPED", "FAILED")


def text_of(page: WebDriver, address: str, *wanted: str) -> str:
    """The page's text once it holds every wanted part; the page so far where it never does."""

    def shown(driver: WebDriver) -> str | bool:
        text = driver.find_element(By.TAG_NAME, "body").text
        return text if all(each in text for each in wanted) else False

    page.get("about:blank")  # addresses differ behind the # only
    page.get(address)
    return str(WebDriverWait(page, 90).until(shown, page.title))


@pytest.mark.browser
def test_trials_columns_comparison_and_pictures_are_there_without_set_up(
    invented_search: Callable[..., Ledger],
    browser: Callable[..., WebDriver],
    served: Callable[..., str],
    tmp_path: Path,
) -> None:
    ledger = invented_search(states=STATES)
    server = str(Path(sys.executable).with_name("mlflow"))
    uri = served(server, "server", "--host", "127.0.0.1", "--port", "PORT", "--workers", "1",
                 "--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}",
                 "--artifacts-destination", str(tmp_path / "artifacts"))  # fmt: skip
    told = CliRunner().invoke(
        app, ["track", ledger.name, "--store", ledger.store, "--tracking", uri]
    )
    assert told.exit_code == 0, told.output
    page, found = browser(3600, 1000), links(ledger, uri)
    names = [f"trial {number}" for number in range(len(STATES))]
    table = text_of(page, found["trials in MLflow"], *names)
    for column in ("uf1", "folds_done", "mer.state", "mer.selected_on", "model.attention"):
        assert column in table
    for value in ("STOPPED", "FAILED", "temporal", "held-out LOSO predictions"):
        assert value in table
    order = [line for line in table.splitlines() if line in names]
    assert order[0] == "trial 7", "best first"
    page.save_screenshot(str(tmp_path / "trials.png"))

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("mer-search").experiment_id
    runs = client.search_runs([experiment], "tags.`mer.kind` = 'trial'")
    ids = json.dumps([run.info.run_id for run in runs])
    compare = (
        f"{uri}/#/compare-runs?runs={quote(ids)}&experiments={quote(json.dumps([experiment]))}"
    )
    text_of(page, compare, "Comparing 10 Runs", "Parallel Coordinates Plot", "model.attention")
    plot = (By.CSS_SELECTOR, ".parcoords, .js-plotly-plot")
    WebDriverWait(page, 60).until(lambda driver: driver.find_elements(*plot))
    page.save_screenshot(str(tmp_path / "compare.png"))

    text_of(page, found["in MLflow"], "Child runs", "Description", "One child run per trial")
    pictures = f"{found['in MLflow']}/artifacts/best/confusion.png"
    text_of(page, pictures, "confusion.png")
    drawn = "return [...document.images].filter((each) => each.naturalWidth > 200).length"
    WebDriverWait(page, 60).until(lambda driver: driver.execute_script(drawn))
    page.save_screenshot(str(tmp_path / "picture.png"))
