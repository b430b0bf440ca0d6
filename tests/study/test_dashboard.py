"""`study NAME --storage URL` for Optuna's own page, in a browser."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

from mer_search.cli import app
from mer_search.loso.ledger import Ledger


@pytest.mark.browser
def test_optuna_dashboard_shows_the_trials_with_their_states(
    invented_search: Callable[..., Ledger],
    browser: Callable[..., WebDriver],
    served: Callable[..., str],
    tmp_path: Path,
) -> None:
    ledger, storage = invented_search(), f"sqlite:///{tmp_path / 'study.db'}"
    told = CliRunner().invoke(
        app, ["study", ledger.name, "--store", ledger.store, "--storage", storage]
    )
    assert told.exit_code == 0, told.output
    command = Path(sys.executable).with_name("optuna-dashboard")
    address = served(str(command), storage, "--host", "127.0.0.1", "--port", "PORT")
    page = browser()
    page.get(f"{address}/dashboard/studies/1/trials")
    shown = WebDriverWait(page, 60).until(
        lambda driver: [
            each for each in driver.find_elements(By.TAG_NAME, "li") if "Trial " in each.text
        ]
    )
    states = ["Complete", "Complete", "Pruned", "Complete", "Fail", "Running"]
    assert [each.text.split("\n")[:2] for each in shown] == [
        [f"Trial {number}", state] for number, state in enumerate(states)
    ]
    page.save_screenshot(str(tmp_path / "dashboard.png"))
