"""One file, nothing loaded, no user's text as markup, and plots that are drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from mer_search.loso.ledger import Ledger
from mer_search.report import page, words
from mer_search.report.compare import Comparison, compare

Make = Callable[..., Ledger]


class Outline(HTMLParser):
    """Elements with their attributes, and the text outside style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(*ledgers: Ledger) -> tuple[str, Outline]:
    text = page.render(compare(ledgers))
    return text, Outline(text)


@pytest.mark.slow
def test_the_page_loads_nothing_and_allows_only_its_own_scripts(invented_search: Make) -> None:
    text, outline = read(invented_search())
    attributes = [each for _, found in outline.elements for each in found]
    assert not {"src", "srcset", "action"} & set(attributes)
    assert [found["href"] for _, found in outline.elements if "href" in found] == []
    policy = next(found["content"] for found in outline.named("meta") if "http-equiv" in found)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy.partition("style-src")[0]
    assert "https://cdn." not in text
    assert len(text.encode()) < 6_000_000


def test_the_page_shows_the_numbers_of_the_json(invented_search: Make) -> None:
    ledger = invented_search()
    _, outline = read(ledger)
    text, document = " ".join(outline.words), compare([ledger]).as_json()
    best = document["best"]
    shown = [best["selected"]["uf1"], *best["selected"]["interval"], best["corrected"]["uf1"],
             *best["corrected"]["interval"], document["chance"]["uf1"]]  # fmt: skip
    shown += [row["recall"] for row in best["per_class"].values()]
    shown += [t["uf1"] for t in document["trials"] if t["uf1"] is not None]
    for score in shown:
        assert words.number(score) in text
    assert best["corrected"]["caveats"][0] in text
    assert document["data"] in text
    assert "out of memory" in text


@pytest.mark.slow
def test_every_plot_says_in_words_what_it_shows(invented_search: Make) -> None:
    _, outline = read(invented_search())
    plots = [found for found in outline.named("div") if found.get("role") == "img"]
    assert len(plots) == 9
    assert all(len(str(found["aria-label"])) > 30 for found in plots)
    assert len(outline.named("figcaption")) == len(plots)


def test_text_of_users_never_becomes_markup(hostile: Ledger) -> None:
    text, outline = read(hostile)
    assert not outline.named("img")
    assert not outline.named("b")
    assert len(outline.named("script")) == 3
    assert "<script>boom" not in text
    assert "</script><b>" not in text
    assert "<script>boom()</script> [bold]" in " ".join(outline.words), "shown as it was written"
    data = re.search(r'type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert "&lt;img src" in data[1], "Plotly reads some HTML in labels"


@pytest.mark.slow
def test_an_empty_search_and_several_have_pages(invented_search: Make) -> None:
    empty = invented_search("empty", states=("FAILED",))
    _, outline = read(empty)
    assert "No trial has all folds yet" in " ".join(outline.words)
    _, outline = read(invented_search("first"), invented_search("second"), empty)
    text = " ".join(outline.words)
    assert "first against second: no evidence of a difference" in text
    ids = [found["id"] for _, found in outline.elements if "id" in found]
    assert len(ids) == len(set(ids))


@pytest.mark.browser
def test_the_browser_draws_every_plot_without_an_error(
    hostile: Ledger, browser: Callable[..., WebDriver], tmp_path: Path
) -> None:
    opened = shown(compare([hostile]), browser(), tmp_path)
    assert len(opened.find_elements(By.CSS_SELECTOR, ".plot .main-svg")) >= 9
    assert not opened.find_elements(By.TAG_NAME, "img"), "no text of a user became markup"


@pytest.mark.browser
def test_the_page_is_read_in_the_dark_on_a_phone_and_sorts_and_filters(
    invented_search: Make, browser: Callable[..., WebDriver], tmp_path: Path
) -> None:
    found = compare([invented_search()])
    opened = shown(found, browser(390, 844, dark=True), tmp_path)
    wide = opened.execute_script("return document.documentElement.scrollWidth")
    assert wide <= 390, "nothing but the tables scrolls sideways"
    paper = opened.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    assert max(map(int, re.findall(r"\d+", paper)[:3])) < 60, f"{paper} is not dark"
    title = opened.find_element(By.CSS_SELECTOR, ".plot .xtitle").value_of_css_property("fill")
    assert min(map(int, re.findall(r"\d+", title)[:3])) > 180, f"{title} on dark paper"
    numbers_of_the_json(opened, found)
    opened.execute_script("scrollTo(0, document.querySelector('#s0-trials').offsetTop - 80)")
    opened.find_element(By.XPATH, "//*[@id='s0-trials']//thead//button[text()='trial']").click()
    assert trials(opened) == ["0", "1", "2", "3", "4", "5"]
    opened.find_element(By.CSS_SELECTOR, "input[data-filters]").send_keys("stopped")
    assert trials(opened) == ["2"]


def shown(found: Comparison, opened: WebDriver, folder: Path) -> WebDriver:
    """The page once its plots are drawn; nothing may have been said on the console."""
    page.write(found, folder / "report.html")
    opened.get((folder / "report.html").as_uri())
    done = "return document.documentElement.dataset.drawn"
    WebDriverWait(opened, 60).until(lambda driver: driver.execute_script(done))
    assert opened.execute_script("return document.documentElement.dataset.error") is None
    assert opened.get_log("browser") == []
    assert opened.execute_script(done) == str(len(opened.find_elements(By.CLASS_NAME, "plot")))
    opened.save_screenshot(str(folder / "report.png"))
    return opened


def numbers_of_the_json(opened: WebDriver, found: Comparison) -> None:
    """Cards and leaderboard say what `--json` says."""
    document = found.as_json()
    best = document["best"]
    cards = [each.text for each in opened.find_elements(By.CSS_SELECTOR, ".card strong")]
    levels = best["corrected"]["uf1"], best["selected"]["uf1"], document["chance"]["uf1"]
    assert cards == [words.number(level) for level in levels]
    rows = {row[1]: row for row in cells(opened)}
    assert len(rows) == len(document["trials"])
    for trial in document["trials"]:
        told = rows[str(trial["number"])][4].strip("()")
        assert told == ("-" if trial["uf1"] is None else words.number(trial["uf1"]))


def cells(opened: WebDriver) -> list[list[str]]:
    """The visible rows of the leaderboard."""
    rows = opened.find_elements(By.CSS_SELECTOR, "#s0-trials tbody tr")
    return [[cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")]
            for row in rows if row.is_displayed()]  # fmt: skip


def trials(opened: WebDriver) -> list[str]:
    return [row[1] for row in cells(opened)]
