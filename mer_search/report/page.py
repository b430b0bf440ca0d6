"""A comparison as one file that opens by a click: no server, no internet, nothing to install."""

from __future__ import annotations

import time
from collections.abc import Iterator
from html import escape
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from mer_search.report import plots, table
from mer_search.report.account import Search
from mer_search.report.compare import Comparison

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1f2933;margin:0 auto;max-width:1080px;padding:24px}
h1{font-size:24px;margin:0}h2{font-size:18px;margin:28px 0 6px}p{margin:6px 0}
.verdict{display:flex;gap:16px;flex-wrap:wrap;margin:16px 0}
.verdict div{flex:1 1 220px;border:1px solid #cbd2d9;border-radius:6px;padding:12px 16px}
.verdict b{display:block;font-size:26px}.small{color:#52606d;font-size:13px}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:4px 8px;border-bottom:1px solid #e4e7eb;text-align:right}
th{cursor:pointer;background:#f5f7fa}th:first-child,td:first-child{text-align:left}
tr.best td{font-weight:600;background:#eef6fb}.scroll{overflow-x:auto}
@media print{.scroll{overflow:visible}h2{break-after:avoid}}
"""
SORT = """
document.querySelectorAll('th').forEach(function(head){head.onclick=function(){
 var body=head.closest('table').tBodies[0],at=head.cellIndex,rows=Array.from(body.rows);
 var up=head.dataset.up=head.dataset.up==='1'?'':'1';
 function key(row){var t=row.cells[at].textContent.replace(/[()*]/g,'');var n=parseFloat(t);
  return isNaN(n)?t:n}
 rows.sort(function(a,b){var x=key(a),y=key(b);return(x<y?-1:x>y?1:0)*(up?1:-1)});
 rows.forEach(function(row){body.appendChild(row)})}});
"""


def write(found: Comparison, file: Path) -> None:
    """Writes the report."""
    names = ", ".join(search.name for search in found.searches)
    parts = [f"<h1>{escape(names)}</h1>"]
    for search in found.searches:
        parts += _search(search)
    if found.pairs:
        parts.append("<h2>Is one search better than another?</h2>")
        parts += [f"<p>{escape(pair.words)}, p = {pair.p:.3f}</p>" for pair in found.pairs]
        parts.append("<p class=small>Each search chooses on drawn subjects and is scored on the "
                     "others; p values after Holm's correction.</p>")  # fmt: skip
    written = time.strftime("%Y-%m-%d %H:%M")
    parts.append(f"<p class=small>Written {written} by mer-search.</p>")
    body = "\n".join(parts)
    file.write_text(
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(names)}</title>"
        f"<style>{STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f"<body>{body}<script>{SORT}</script></body></html>"
    )


def _search(search: Search) -> Iterator[str]:
    """One search: verdict, leaderboard, plots."""
    record = search.file.get("record", {})
    versions = ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items())
    yield f"<h2>{escape(search.name)}</h2>"
    yield (
        f"<p class=small>reader {escape(search.file['data']['reader'])}, "
        f"{escape(search.file['evaluation']['folds'])}, data {str(record.get('data'))[:16]}, "
        f"{escape(versions)}</p>"
    )
    yield from _verdict(search)
    yield f"<div class=scroll>{_leaderboard(search)}</div>"
    yield "".join(f"<p class=small>{escape(each)}</p>" for each in table.sentences(search))
    if not search.finished:
        return
    yield _plot("Trials in order", plots.progress(search))
    yield _plot("After each block of folds", plots.curves(search))
    yield _plot("Confusion matrix of the best trial", plots.confusion(search))
    yield _plot("Subjects of the best trial", plots.subjects(search))
    varied = table.varied(search)
    if varied and len(search.finished) > 1:
        yield _plot("Settings of the finished trials", plots.parameters(search, varied))


def _verdict(search: Search) -> Iterator[str]:
    e = search.estimate
    if e is None:
        yield "<p>No trial has all folds yet, so there is no best one.</p>"
        return
    objective = e.objective
    low, high = e.interval
    boxes = [
        (f"{e.selected[objective]:.3f}", f"{objective} of the best trial: selected, optimistic"),
        (f"{e.corrected[objective]:.3f}", f"corrected: expected on new subjects, {e.level:.0%} "
         f"interval {low:.3f} to {high:.3f}"),
        (f"{search.chance():.3f}", "UF1 by chance, for guesses as frequent"),
    ]  # fmt: skip
    told = "".join(f"<div><b>{number}</b>{escape(words)}</div>" for number, words in boxes)
    yield f"<div class=verdict>{told}</div>"


def _leaderboard(search: Search) -> str:
    """Every trial; a click on a head sorts."""
    shown = table.leaderboard(search, limit=len(search.results), apart=True)
    heads = "".join(f"<th>{escape(str(column.header))}</th>" for column in shown.columns)
    rows = zip(*(list(column.cells) for column in shown.columns), strict=True)
    body = "".join(
        f"<tr{' class=best' if str(row[0]).startswith('*') else ''}>"
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _plot(title: str, figure: go.Figure) -> str:
    drawn = figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})
    return f"<h2>{escape(title)}</h2><div role=img aria-label='{escape(title)}'>{drawn}</div>"
