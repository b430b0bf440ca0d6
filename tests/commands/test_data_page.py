"""The page of `data check`: one offline file that says what was read; and its command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

from mer_search.cli import app
from mer_search.commands import data_page
from mer_search.datasets import Clip, DataSet
from mer_search.errors import InputError


def invented(**changes) -> DataSet:
    clips = tuple(
        Clip(dataset, f"s{subject}", f"c{number}", ("a<b>", "b")[number % 2], 0,
             None if number == 0 else 3, 5 + number,
             tuple(Path(f"{n}.jpg") for n in range(6 + number)))
        for dataset in ("one", "two") for subject in range(3) for number in range(4)
    )  # fmt: skip
    return DataSet("invented", "v1", ("a<b>", "b"), clips, **changes)


@pytest.fixture(autouse=True)
def no_files(monkeypatch):
    monkeypatch.setattr(DataSet, "digest", "0" * 64)


def test_the_page_says_what_was_read():
    text = data_page.render(
        invented(faults=("x.xlsx row 2: bad <script>",), corrections=("mended",), notes=("noted",))
    )
    assert "<h1>invented: 24 clips of 6 subjects</h1>" in text
    assert "x.xlsx row 2: bad &lt;script&gt;" in text
    for heading in ("Faults (1)", "Repairs that were applied (1)", "Notes (1)", "Lengths"):
        assert f"<h2>{heading}</h2>" in text
    assert "<td>6</td><td>6</td><td>12</td>" in text
    own = text[: text.index('<script type="application/json"')]
    assert not re.search(r"(src|href)=", own)
    assert "default-src 'none'" in own


def test_plots_hold_every_clip():
    text = data_page.render(invented())
    plots = json.loads(re.search(r'<script type="application/json" id="plots">(.+?)</script>',
                                 text)[1])  # fmt: skip
    subjects, lengths, strips = plots.values()
    assert sum(sum(bar["y"]) for bar in subjects["data"]) == 24
    assert sum(len(box["x"]) for box in lengths["data"]) == 24
    lines = [trace for trace in strips["data"] if trace["mode"] == "lines"]
    marks = [trace for trace in strips["data"] if trace["mode"] == "markers"]
    assert sum(len(line["x"]) for line in lines) == 24 * 3
    assert sum(len(mark["x"]) for mark in marks) == 18


def test_a_page_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match=r"x.html: cannot be written \(No such file .+; name a"):
        data_page.write(invented(), tmp_path / "nowhere" / "x.html")


def test_a_data_set_without_clips_shows_its_faults():
    text = data_page.render(DataSet("invented", "v1", ("a", "b"), (), faults=("all gone",)))
    assert "all gone" in text


@pytest.mark.browser
def test_plots_are_drawn_by_a_browser(browser, tmp_path):
    data_page.write(invented(), tmp_path / "page.html")
    opened = browser()
    opened.get((tmp_path / "page.html").as_uri())
    drawn = "return document.documentElement.dataset.drawn"
    WebDriverWait(opened, 60).until(lambda driver: driver.execute_script(drawn) == "3")
    assert opened.get_log("browser") == []


@pytest.mark.slow
def test_the_commands(tmp_path):
    run = CliRunner().invoke
    made = run(app, ["data", "synth", str(tmp_path / "new"), "--layout", "samm", "--full"])
    assert (made.exit_code, "a full copy of samm" in made.output) == (0, True)
    page = tmp_path / "check.html"
    told = run(app, ["data", "check", "samm", str(tmp_path / "new"), "--html", str(page)])
    assert told.exit_code == 0
    assert "136 clips of 29 subjects" in told.output
    assert "corrected: samm/028/028_4_1: apex 1143 -> 1105" in told.output.replace("\n", " ")
    assert page.stat().st_size > 1e6
    told = run(app, ["data", "check", "samm", str(tmp_path / "new"), "--json"])
    record = json.loads(told.stdout)
    assert (record["clips"], record["subjects"], record["datasets"]) == (136, 29, {"samm": 136})
    assert len(record["corrections"]) == 2
