"""What the numbers of a search mean, in sentences that a reader can quote. Not for layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mer_search.report.account import Search
from mer_search.report.contract import per_class
from mer_search.report.cost import nested_cost

if TYPE_CHECKING:  # optuna takes long to import, and a terminal needs none of it
    from mer_search.study.importance import Importance

STATES = {"COMPLETE": "done", "STOPPED": "stopped", "FAILED": "failed", "RUNNING": "unfinished"}
NAMES = {"uf1": "UF1", "uar": "UAR", "accuracy": "accuracy"}


def number(value: float | None) -> str:
    """Three digits without the leading zero, as the field prints scores: .612, 1.000, -.031."""
    if value is None:
        return "-"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def interval(ends: tuple[float, float]) -> str:
    return f"[{number(ends[0])}, {number(ends[1])}]"


def p_value(p: float) -> str:
    """A p value as journals print it: `p = .031`, `p < .001` below what three digits show."""
    return "p < .001" if p < 0.001 else f"p = {number(p)}"


def value(found: Any) -> str:
    """A setting's value; `-` where it does not apply."""
    if found is None:
        return "-"
    return f"{found:.2g}" if isinstance(found, float) else str(found)


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """The shortest ends of dotted paths that tell them apart: `model.lstm_size` -> `lstm_size`."""
    paths = list(paths)
    short: dict[str, str] = {}
    for path in paths:
        parts = path.split(".")
        ends = [".".join(parts[start:]) for start in reversed(range(len(parts)))]
        others = [other for other in paths if other != path]
        alone = (
            end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others)
        )
        short[path] = next(alone, path)
    return short


def varied(search: Search) -> list[str]:
    """Parameters in which trials differ, or that only some of them have."""
    params = [result.record.params for result in search.results if result.record.params]
    paths = dict.fromkeys(path for each in params for path in each)
    return [path for path in paths if len({repr(each.get(path)) for each in params}) > 1]


def header(search: Search) -> str:
    """What was searched on what."""
    protocol, kind = search.protocol, search.file["evaluation"]["folds"]
    return (
        f"{len(protocol.keys)} clips of {len(set(protocol.subject))} subjects, "
        f"{len(protocol.classes)} classes; {kind}, {search.folds} folds, counts pooled over folds, "
        f"then scored"
    )


def trials(search: Search) -> str:
    counts = ", ".join(f"{n} {STATES[state]}" for state in STATES if (n := search.states[state]))
    return f"{len(search.results)} trials: {counts or 'none yet'}"


def selected(search: Search) -> str:
    """The winner and the score that chose it."""
    best, found = search.best, search.estimate
    if best is None or found is None:
        return "No trial has all folds yet, so there is no best one."
    name, score = NAMES[found.objective], found.selected[found.objective]
    return (
        f"Selected: {name} {number(score)} {interval(found.selected_interval)}, trial "
        f"{best.record.number}. Optimistic: this score chose the trial among {found.finished}."
    )


def corrected(search: Search) -> str:
    """What the winner is worth, and what that number corrects."""
    found = search.estimate
    if found is None:
        return "No corrected estimate without a finished trial."
    name, score = NAMES[found.objective], found.corrected[found.objective]
    return (
        f"Corrected: {name} {number(score)} {interval(found.interval)} ({found.level:.0%} "
        f"interval), the score to expect on a new sample of subjects. It {found.caveats[0]}."
    )


def nested(search: Search) -> Iterator[str]:
    """What the whole procedure is worth, where it was run on outer groups."""
    found = search.nested
    if found is None:
        return
    groups, score = len(found.groups), found.interval
    if score is None:
        yield (
            f"Nested evaluation ({found.kind}): {found.scored} of {groups} outer groups scored; "
            "the same launch command goes on with it."
        )
        return
    yield (
        f"Nested: {NAMES[found.objective]} {number(score.value)} {interval(score.interval)} "
        f"({score.level:.0%} interval), the whole search repeated without each of {groups} "
        "outer groups and its winner scored on the group. This is the number to publish: it is "
        "what the procedure is worth, and nothing was chosen on the clips it counts."
    )


def optimism(search: Search) -> str:
    """How much the choice flattered the selected score."""
    found = search.estimate
    if found is None:
        return ""
    bias = found.selected[found.objective] - found.corrected[found.objective]
    if found.finished == 1:
        return "One finished trial: nothing was chosen, so nothing is corrected."
    if bias < 0.0005:
        return "The choice did not flatter the score."
    return f"Choosing the best of {found.finished} flattered the score by about {number(bias)}."


def chance(search: Search) -> str:
    """Chance, the majority class, and whether the winner is above them."""
    found, (name, always) = search.estimate, search.majority
    if found is None:
        return ""
    key = found.objective
    level = search.chances[key]
    told = (
        "the corrected interval lies above it"
        if found.interval[0] > level
        else "the corrected interval reaches it: no evidence that the trial knows anything"
    )
    return (
        f"Chance: {NAMES[key]} {number(level)} for guesses as frequent as this trial's; {told}. "
        f"Always answering {name!r}: {number(always[key])}."
    )


def importance(found: Sequence[Importance]) -> str:
    """Which settings mattered more than chance."""
    short = short_names(each.setting for each in found)
    told = [f"{short[each.setting]} {each.share:.0%}" for each in found if each.told]
    says = f"More than chance: {', '.join(told)}" if told else "None stands out from chance"
    return (
        f"Share of each setting in whether a trial is among the best (PED-ANOVA), with 90% "
        f"intervals over resampled trials; crosses: what permuted scores reach. {says}."
    )


def recalls(search: Search) -> str:
    """Right clips of each class, by the winner."""
    told = (
        f"{name} {round(row['recall'] * row['clips'])}/{row['clips']}"
        for name, row in per_class(search).items()
    )
    return f"Right per class: {', '.join(told)}."


def caveats(search: Search) -> Iterator[str]:
    """What else limits the numbers."""
    if search.record.get("boundaries") == "annotated":
        yield "Scores hold for clips cut at annotated onset and offset."
    elif read := [k for k, v in search.record.get("keyframes", {}).items() if v == "annotated"]:
        yield f"Key frames by {', '.join(read)} read annotations, which a new video does not have."
    if random := search.record.get("random_weights"):
        yield (
            f"The weights of {', '.join(random)} are random: such a search tests the way, its "
            "scores say nothing of face features."
        )
    if search.estimate:
        yield from (f"Note: {each}." for each in search.estimate.caveats[1:])
    broken = [r.record.number for r in search.results if r.record.state == "COMPLETE"]
    broken = sorted(set(broken) - {r.record.number for r in search.finished})
    if broken:
        named = ", ".join(map(str, broken))
        yield f"Not ranked, since blocks of them are missing or damaged: trial {named}."


def troubles(search: Search) -> Iterator[str]:
    """Reasons of failed and stopped trials, equal ones together, and damaged records by name."""
    for state in ("FAILED", "STOPPED"):
        numbers: dict[str, list[int]] = {}
        for result in search.results:
            if result.record.state == state:
                numbers.setdefault(result.record.reason, []).append(result.record.number)
        if state == "STOPPED" and numbers:
            count = sum(map(len, numbers.values()))
            folds = sum(r.folds_done for r in search.results if r.record.state == state)
            yield f"Stopped early: {count}, after {folds} of {count * search.folds} folds."
            continue
        for reason, those in numbers.items():
            named = ", ".join(map(str, those[:8])) + (", ..." if len(those) > 8 else "")
            yield f"Failed: {len(those)} ({named}): {reason or 'no reason recorded'}"
    yield from (f"Damaged record: {sentence}" for sentence in search.damaged)


def saved(search: Search) -> str:
    """The folds that racing did not train; empty where no trial was stopped."""
    stopped = [r for r in search.results if r.record.state == "STOPPED"]
    if not stopped:
        return ""
    left = sum(search.folds - r.folds_done for r in stopped)
    whole = search.folds * len(search.results)
    return f" Racing stopped {len(stopped)} and saved {left} of {whole} folds ({left / whole:.0%})."


def _time(hours: float) -> str:
    """Hours, or minutes where hours would be 0."""
    return f"{hours:,.1f} h" if hours >= 1 else f"{max(1, round(60 * hours))} min"


def publication(search: Search) -> str:
    """What to do before publishing, and its price."""
    cost = nested_cost(search)
    hours = "" if cost.hours is None else f", about {_time(cost.hours)} of one worker"
    return (
        f"For publication: nested evaluation ({cost.folds} folds x {cost.trials} trials x "
        f"{cost.outer_groups} outer groups = {cost.trainings:,} fold trainings{hours}); it scores "
        "the whole procedure on subjects that chose nothing. Launch again with "
        f"--set evaluation.outer.folds=group-{cost.outer_groups}."
    )
