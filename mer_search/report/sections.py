"""The parts of the report: verdict, leaderboard, pictures with their meaning in words, cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import plotly.graph_objects as go

from mer_search.loso.result import LosoResult
from mer_search.report import elements as html
from mer_search.report import maps, plots, table, words
from mer_search.report.account import Search
from mer_search.report.attention import attention_of, receptive_field
from mer_search.report.attention import verdict as occlusion_verdict
from mer_search.report.compare import Comparison
from mer_search.report.contract import per_class, per_dataset, per_subject
from mer_search.report.elements import element
from mer_search.report.faces import Face
from mer_search.report.faces import figure as over_faces
from mer_search.report.faces import told as of_whom
from mer_search.study.importance import importances

Plots = dict[str, Any]
SPENT = ("state", "trials", "folds", "hours")


def comparison(found: Comparison, drawn: Plots) -> Iterator[Element]:
    """Several searches: who is better, and the best of all."""
    yield element("h2", "Is one search better than another?")
    for sentence in table.verdicts(found):
        yield element("p", sentence)
    yield element(
        "p",
        "Each search chooses on resampled subjects and is scored on the others, so that the larger "
        "search has no advantage; p values after Holm's correction for the number of pairs.",
        class_="soft",
    )
    if found.union:
        told = "Lines are intervals. Compare searches by the sentences above, not by these lines."
        yield _plot(drawn, "all-worth", "Scores of all searches", plots.worth(found.searches), told)


def search(
    found: Search, drawn: Plots, *, prefix: str, title: bool, faces: Sequence[Face] = ()
) -> Iterator[Element]:
    """One search; ids start with `prefix`, a title stands above where there are several."""
    if title:
        yield element("h2", found.name, id=prefix)
    yield element("p", f"{words.header(found)}. {words.trials(found)}.")
    yield from verdict(found, drawn, prefix)
    yield element("h3", "Leaderboard")
    yield from leaderboard(found, prefix)
    yield from pictures(found, drawn, prefix)
    if faces:
        yield _plot(drawn, f"{prefix}-faces", "Over real faces", over_faces(faces), of_whom(faces))
    yield element("h3", "Cost")
    yield spent(found)
    if troubles := list(words.troubles(found)):
        yield element("h3", "Stopped, failed, damaged")
        yield element("ul", [element("li", sentence) for sentence in troubles])
    yield element("h3", "What was run")
    yield facts(found)


def verdict(found: Search, drawn: Plots, prefix: str) -> Iterator[Element]:
    """Corrected and selected side by side, chance, and what they mean."""
    estimate = found.estimate
    if estimate is None:
        yield element("p", words.selected(found))
        return
    key = estimate.objective
    name = words.NAMES[key]
    yield element(
        "div",
        _card(f"{name}, corrected", estimate.corrected[key],
              f"{words.interval(estimate.interval)}, {estimate.level:.0%} interval. "
              "The score to expect on a new sample of subjects.", main=True),
        _card(f"{name}, selected", estimate.selected[key],
              f"{words.interval(estimate.selected_interval)}. Optimistic: it chose the trial."),
        *_nested_card(found, name),
        _card(f"{name}, chance", found.chances[key],
              "Guesses with the best trial's share of each class."),
        class_="cards",
    )  # fmt: skip
    said = [words.selected(found), words.corrected(found), *words.nested(found)]
    said += [words.optimism(found), words.chance(found), *words.caveats(found)]
    said += [] if found.nested else [words.publication(found)]
    yield from (element("p", sentence) for sentence in said)
    told = (
        f"Lines are {estimate.level:.0%} intervals. What selected lies above corrected is the "
        f"optimism of choosing among {estimate.finished}."
    )
    figure = plots.worth([found])
    yield _plot(drawn, f"{prefix}-worth", "What the best trial is worth", figure, told)


def leaderboard(found: Search, prefix: str) -> Iterator[Element]:
    """Every trial; heads sort, the field above filters."""
    names = words.short_names(words.varied(found))
    heads = ["rank", "trial", "state", "folds", *words.NAMES.values(), "seconds", *names.values()]

    def cells(result: LosoResult, rank: int) -> list[str]:
        values = [words.value(result.record.params.get(path)) for path in names]
        return [*table.row(result, rank), *values]

    rows = [cells(result, rank) for rank, result in enumerate(found.ranked, start=1)]
    place = f"{prefix}-trials"
    made = html.table(
        heads, rows, id=place, class_="sortable",
        caption="UF1, UAR and accuracy are selected scores, pooled over folds. In brackets: over "
        "the folds done only, not ranked.",
    )  # fmt: skip
    if found.best is not None:
        made.findall("tbody/tr")[0].set("class", "best")
    field = element("input", type="search", data_filters=place)
    yield element("label", "Show trials with ", field)
    yield element("div", made, class_="scroll", tabindex=0, role="region",
                  aria_label="Leaderboard, scrolls")  # fmt: skip


def pictures(found: Search, drawn: Plots, prefix: str) -> Iterator[Element]:
    """What the trials did, then what the best one gets wrong."""
    name = words.NAMES[found.objective]
    if any(result.blocks for result in found.results):
        told = f"{name} of each trial as the search went on. {words.selected(found)}"
        told += words.saved(found)
        yield _plot(drawn, f"{prefix}-order", "Trials in order", plots.in_order(found), told)
    if figure := maps.parallel(found):
        told = (
            f"Each line is a finished trial, dark ones have the better {name}; the thick one is "
            "the best. A click in the legend hides a part, a double click shows it alone."
        )
        yield _plot(drawn, f"{prefix}-parallel", "All settings at once", figure, told)
    if shares := importances(result.record for result in found.finished):
        yield _plot(drawn, f"{prefix}-importance", "Which settings mattered",
                    maps.importance(shares), words.importance(shares))  # fmt: skip
    if figure := plots.settings(found):
        told = (f"{name} of finished trials by value of each setting; the star is the best trial. "
                "Trials to which a setting does not apply are left out. The scores are selected "
                "ones: a pattern is a hint, not a test.")  # fmt: skip
        yield _plot(drawn, f"{prefix}-settings", "Settings", figure, told)
    if any(result.blocks for result in found.results):
        told = "Pooled score after each block of folds; early values rest on few subjects."
        if len(found.results) > plots.CURVES:
            told += (
                f" At most {plots.CURVES} curves of finished trials are drawn, the best, and as "
                "many of others, those with most folds."
            )
        yield _plot(drawn, f"{prefix}-curves", "Score by folds done", plots.curves(found), told)
    if found.best is not None:
        told = f"Pooled over all folds, trial {found.best.record.number}. {words.recalls(found)}"
        yield _plot(drawn, f"{prefix}-confusion", "Confusion matrix of the best trial",
                    plots.confusion(found), told)  # fmt: skip
        yield from _by_dataset(found, drawn, prefix)
        yield _classes(found)
        yield _plot(drawn, f"{prefix}-subjects", "Subjects, best trial", plots.subjects(found),
                    _hardest(found))  # fmt: skip
        told = ("Rows that stay pale are subjects that are hard for every trial. The trials are "
                f"the best {min(len(found.finished), maps.TRIALS)} with all folds.")  # fmt: skip
        yield _plot(drawn, f"{prefix}-map", "Subjects by trials", maps.subjects_by_trials(found),
                    told)  # fmt: skip
        yield from looked(found, drawn, prefix)


def looked(found: Search, drawn: Plots, prefix: str) -> Iterator[Element]:
    """Where the best trial's attention lay, and whether that place mattered."""
    seen = attention_of(found.best) if found.best else None
    if seen is None:
        return
    yield element("h3", "Attention of the best trial")
    yield element("p", "Mean weights over held-out clips, each by the fold that never saw it. "
                  "Weights say where the model looked, not why.")  # fmt: skip
    if seen.temporal is not None:
        told = "Mean weight of each keyframe by true class; dotted: equal weights."
        yield _plot(drawn, f"{prefix}-temporal", "Over time", maps.temporal(seen), told)
    if seen.spatial is not None and seen.side:
        told = f"Mean weight of each region of the face by true class. {receptive_field(found)}"
        yield _plot(drawn, f"{prefix}-spatial", "Over the face", maps.spatial(seen), told)
    if seen.occlusion is not None:
        yield element("p", occlusion_verdict(seen.occlusion))


def _by_dataset(found: Search, drawn: Plots, prefix: str) -> Iterator[Element]:
    """A confusion matrix for each of several data sets."""
    for index, name in enumerate(found.datasets if len(found.datasets) > 1 else ()):
        told = f"The clips of {name} alone, pooled over their folds."
        yield _plot(drawn, f"{prefix}-confusion-{index}", f"Confusion matrix, {name}",
                    plots.confusion(found, name), told)  # fmt: skip


def spent(found: Search) -> Element:
    """Trials, folds and time by state."""
    rows = []
    for state, count in found.states.items():
        results = [r for r in found.results if r.record.state == state]
        seconds = sum(block.seconds for r in results for block in r.blocks.values())
        folds = sum(r.folds_done for r in results)
        rows.append([words.STATES[state], str(count), str(folds), f"{seconds / 3600:.2f}"])
    caption = "Hours of training and prediction, added over workers that ran side by side."
    return html.table(SPENT, rows, caption=caption)


def facts(found: Search) -> Element:
    """What a reader needs to run it again."""
    file, record = found.file, found.record
    seeds = f"search {file['search']['seed']}, training {file['train']['seed']}"
    told = {
        "data": f"{file['data']['reader']}, annotation {record.get('annotation', 'unknown')}",
        "data digest": found.data,
        "clips left out": "; ".join(record.get("skipped", [])) or "none",
        "classes": ", ".join(found.protocol.classes),
        "sampler": f"{file['search']['sampler']}, racing {file['search']['racing']['rule']}",
        "seeds": seeds,
        "weights": ", ".join(f"{k} {v}" for k, v in record.get("weights", {}).items()) or "none",
        "key frames": ", ".join(f"{k} {v}" for k, v in record.get("keyframes", {}).items()),
        "versions": ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items()),
        "estimate": found.estimate.method if found.estimate else "none",
    }
    pairs = [[element("dt", key), element("dd", value)] for key, value in told.items()]
    return element("dl", [each for pair in pairs for each in pair])


def _card(label: str, score: float, told: str, *, main: bool = False) -> Element:
    kind = "card main" if main else "card"
    return element("div", label, element("strong", words.number(score)), told, class_=kind)


def _nested_card(found: Search, name: str) -> Iterator[Element]:
    """What the procedure is worth, where it was measured."""
    score = found.nested.interval if found.nested else None
    if score is not None:
        told = (f"{words.interval(score.interval)}, {score.level:.0%} interval. The whole search, "
                "scored on subjects that chose nothing.")  # fmt: skip
        yield _card(f"{name}, nested", score.value, told)


def _classes(found: Search) -> Element:
    """Per class, and per data set where there are several, as a table."""
    rows = [
        [
            name,
            str(row["clips"]),
            *(words.number(row[key]) for key in ("recall", "precision", "f1")),
        ]
        for name, row in per_class(found).items()
    ]
    made = html.table(("class", "clips", "recall", "precision", "F1"), rows,
                      caption="Best trial, pooled over folds (selected).")  # fmt: skip
    parts = per_dataset(found)
    if len(parts) < 2:
        return made
    lines = [[name, str(row["clips"]), *(words.number(row[key]) for key in words.NAMES)]
             for name, row in parts.items()]  # fmt: skip
    heads = ("data set", "clips", *words.NAMES.values())
    caption = "Best trial by data set, over the classes of all (selected)."
    return element("div", made, html.table(heads, lines, caption=caption))


def _hardest(found: Search) -> str:
    rows = per_subject(found)
    told = ", ".join(f"{row['subject']} {row['right']}/{row['clips']}" for row in rows[:5])
    none = sum(row["right"] == 0 for row in rows)
    return f"Lowest shares: {told}. {none} of {len(rows)} subjects have no clip right."


def _plot(drawn: Plots, place: str, title: str, figure: go.Figure, told: str) -> Element:
    """A place for a plot, with what it shows in words below and for screen readers."""
    drawn[place] = json_of(figure)
    height = f"height:{figure.layout.height}px"
    return element(
        "figure",
        element("h3", title),
        element("div", id=place, class_="plot", role="img", aria_label=told, style=height),
        element("figcaption", told),
    )


def json_of(figure: go.Figure) -> dict[str, Any]:
    """Data and layout of a figure, as plain JSON values."""
    plain = figure.to_plotly_json()
    return {"data": plain["data"], "layout": plain["layout"]}
