"""A comparison as one file that opens by a click: no server, no internet, nothing to install.

The page's own policy forbids it to load anything, and to run any script but the three written
here. Not for numbers: see `compare` and `words`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from plotly.offline import get_plotlyjs

from mer_search.report import sections
from mer_search.report.compare import Comparison
from mer_search.report.elements import document, element
from mer_search.report.faces import Face

NONE: Mapping[str, Sequence[Face]] = {}


def write(found: Comparison, file: Path, *, faces: Mapping[str, Sequence[Face]] = NONE) -> None:
    """Writes the report; about 5 MB, most of it Plotly.

    Args:
        faces: by search, to show under its attention; never for a page that others may open.
    """
    file.write_text(render(found, faces=faces), encoding="utf-8")


def render(found: Comparison, *, faces: Mapping[str, Sequence[Face]] = NONE) -> str:
    """The text of the report; arguments of `write`."""
    plots: dict[str, Any] = {}
    names = ", ".join(search.name for search in found.searches)
    body = element("main", element("h1", names), list(_content(found, plots, faces)))
    return offline(f"{names} - mer-search report", body, plots)


def offline(title: str, body: Element, plots: dict[str, Any]) -> str:
    """A page that needs nothing but itself; `plots` are drawn into the elements of their ids."""
    own = files("mer_search.report")
    library, script = _library(), own.joinpath("page.js").read_text("utf-8")
    return document(
        element(
            "html",
            element(
                "head",
                element("meta", charset="utf-8"),
                _policy(library, script),
                element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                element("title", title),
                element("style", own.joinpath("page.css").read_text("utf-8")),
            ),
            element(
                "body",
                body,
                element("script", _json(plots), type="application/json", id="plots"),
                element("script", library),
                element("script", script),
            ),
            lang="en",
        )
    )


def _content(
    found: Comparison, plots: dict[str, Any], faces: Mapping[str, Sequence[Face]]
) -> Iterator[Element]:
    """What follows the title; figures are put into `plots` by the id of their place."""
    if len(found.searches) > 1:
        yield from sections.comparison(found, plots)
    for index, search in enumerate(found.searches):
        yield from sections.search(
            search, plots, prefix=f"s{index}", title=len(found.searches) > 1,
            faces=faces.get(search.name, ()),
        )  # fmt: skip
    written = time.strftime("%Y-%m-%d %H:%M")
    yield element("p", f"Written {written} by mer-search compare.", class_="soft")


def _policy(*scripts: str) -> Element:
    """Content-Security-Policy: nothing from outside, no script but these."""
    allowed = " ".join(f"'{digest_of(script)}'" for script in scripts)
    rules = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return element("meta", http_equiv="Content-Security-Policy", content=rules)


def digest_of(script: str) -> str:
    """The name by which the policy allows a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


@cache
def _library() -> str:
    """Plotly's script without the addresses it would load maps from."""
    return re.sub(r"https://cdn\.[\w.]+", "offline:", str(get_plotlyjs()))


def _json(content: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
