"""One file, nothing loaded, no user's text as markup, and plots that are drawn."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mer_search.loso.ledger import Ledger
from mer_search.report import page, words
from mer_search.report.compare import compare

Make = Callable[..., Ledger]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip


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
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_browser_draws_every_plot_without_an_error(hostile: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    page.write(compare([hostile]), file)
    dom = dumped(file, tmp_path)
    root = re.search(r"<html[^>]*>", dom)
    assert root is not None
    assert "data-error" not in root[0]
    assert 'data-drawn="9"' in root[0]
    assert dom.count('class="main-svg"') >= 9
    assert "<img" not in dom, "no text of a user became markup inside the plots either"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_heads_sort_and_the_field_filters(invented_search: Make, tmp_path: Path) -> None:
    ledger, file = invented_search(), tmp_path / "report.html"
    found = compare([ledger])
    act = """
    const heads = [...document.querySelectorAll("#s0-trials thead button")];
    heads.find((each) => each.textContent === "trial").click();
    const field = document.querySelector("input[data-filters]");
    field.value = "stopped"; field.dispatchEvent(new Event("input"));
    const rows = [...document.querySelectorAll("#s0-trials tbody tr")];
    root.dataset.order = rows.map((row) => row.cells[1].textContent).join(" ");
    root.dataset.left = rows.filter((row) => !row.hidden).map((row) => row.cells[1].textContent);
    """
    script = Path(page.__file__).with_name("page.js").read_text()
    text = page.render(found)
    assert text.count(script) == 1
    digest, changed = page.digest_of(script), page.digest_of(script + act)
    file.write_text(text.replace(script, script + act).replace(digest, changed))
    root = re.search(r"<html[^>]*>", dumped(file, tmp_path))
    assert root is not None
    assert "data-error" not in root[0]
    assert 'data-order="0 1 2 3 4 5"' in root[0]
    assert 'data-left="2"' in root[0]


def dumped(file: Path, folder: Path) -> str:
    """The page's elements after its scripts have run."""
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={folder / 'profile'}",
         "--virtual-time-budget=20000", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout
