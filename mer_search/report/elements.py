"""HTML as a tree, so that no name or value of a user can become markup. Not for content."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

Content = Element | str | Iterable["Element | str"]


def element(tag: str, *content: Content, **attributes: object) -> Element:
    """`element("p", "text", class_="small")`; underscores of attributes become dashes.

    Text is escaped when written, except inside script and style.
    """
    names = {name.strip("_").replace("_", "-"): str(each) for name, each in attributes.items()}
    made = Element(tag, names)
    for part in content:
        for each in [part] if isinstance(part, str | Element) else part:
            _append(made, each)
    return made


def _append(parent: Element, part: Element | str) -> None:
    """ElementTree keeps text behind a child in the child's tail."""
    if isinstance(part, Element):
        parent.append(part)
    elif len(parent):
        parent[-1].tail = (parent[-1].tail or "") + part
    else:
        parent.text = (parent.text or "") + part


def document(root: Element) -> str:
    """The text of an HTML file."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


def table(
    heads: Iterable[str], rows: Iterable[Iterable[str]], *, caption: str, **attributes: object
) -> Element:
    """A table whose first cell of each row is the row's head."""
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", [element("th", head, scope="col") for head in heads])),
        element("tbody", map(_row, rows)),
        **attributes,
    )


def _row(cells: Iterable[str]) -> Element:
    first, *rest = cells
    return element("tr", element("th", first, scope="row"), [element("td", cell) for cell in rest])
