"""`compare`, `export`, `predict`, `evaluate`, `score`, `export-log`: what a search has found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mer_search.commands.options import (
    STORE,
    AsJson,
    Device,
    Store,
    Tracking,
    console,
    print_json,
)  # fmt: skip
from mer_search.commands.searches import Name, existing
from mer_search.errors import InputError

if TYPE_CHECKING:
    from mer_search.loso.ledger import Ledger

TrialOption = Annotated[str, typer.Option("--trial", help="A trial's number, or best.")]


def compare(
    names: Annotated[
        list[str],
        typer.Argument(help="Searches on the same data, or trials of them as NAME:NUMBER."),
    ],
    store: Store = STORE,
    html: Annotated[Path | None, typer.Option(help="Write the report into this file.")] = None,
    faces: Annotated[
        bool, typer.Option("--faces", help="Draw attention over real faces into the report.")
    ] = False,
    paper: Annotated[
        Path | None, typer.Option(help="Write tables, figures and a methods text here.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="A published prediction log (MEGC) to hold beside trials.")
    ] = None,
    tracking: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """The leaderboard, what the best trial is really worth, and whether A is better than B.

    Example: mer-search compare first second --html report.html

    Example: mer-search compare first:17 first:3 --log published.txt
    """
    from mer_search.report import compare as stage
    from mer_search.report import given

    if faces and not html:
        raise InputError("compare", "--faces draws into a report; name one with --html FILE")
    if log or any(given.number_in(name) is not None for name in names):
        if html or paper:
            raise InputError("compare", "--html and --paper take searches, not single trials")
        _compare_given(names, store, log, as_json)
        return
    found = stage.compare([existing(store, name) for name in dict.fromkeys(names)])
    if paper:
        import mer_search.report.paper as papers

        papers.write(found, paper)
    if html:
        import mer_search.report.page as page
        from mer_search.commands.faces import faces_of

        seen = {s.name: faces_of(existing(store, s.name), s) for s in found.searches if faces}
        page.write(found, html, faces=seen)
    if as_json:
        print_json(found.as_json())
        return
    from mer_search.report import table

    out = console()
    out.print(table.render(found, width=out.width))
    if html:
        out.print(f"report: {html}")
    if paper:
        out.print(f"paper: {paper}")
    for search in found.searches:
        for what, address in _mlflow_links(existing(store, search.name), tracking).items():
            out.print(f"{search.name} {what}: {address}", markup=False)


def _compare_given(names: list[str], store: str, log: Path | None, as_json: bool) -> None:
    """Trials by number, or the best of a search, and a log."""
    from mer_search.report import given

    picked: list[tuple[Ledger, given.Number]] = []
    for name in dict.fromkeys(names):
        number = given.number_in(name)
        ledger = existing(store, name if number is None else name.rpartition(":")[0])
        picked.append((ledger, "best" if number is None else number))
    found = given.compare(picked, log)
    if as_json:
        print_json(found.as_json())
    else:
        console().print(given.render(found))


def _mlflow_links(ledger: Ledger, tracking: str | None) -> dict[str, str]:
    """Where the search and its trials are shown; empty where MLflow knows nothing of them."""
    from mer_search.tracking.place import links

    return {} if tracking == "none" else links(ledger, tracking)


def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="A new or empty folder for the model.")],
    trial: TrialOption = "best",
    register: Annotated[
        str | None, typer.Option(help="MODEL@ALIAS in MLflow's model registry.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Trainings to average; by default evaluation.seeds."),
    ] = None,
    portable: Annotated[
        bool, typer.Option(help="Write the ONNX and torch.export files, too.")
    ] = True,
    store: Store = STORE,
    tracking: Tracking = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Trains a trial's settings on all subjects and writes the model that takes video.

    Example: mer-search export first --trial best --out model
    """
    from mer_search.export import export_trial
    from mer_search.features.cache import Cache

    written = export_trial(
        existing(store, name), _chosen(trial), out, cache=Cache.default(), device=device,
        seeds=seeds, portable=portable, register=register, tracking=tracking,
    )  # fmt: skip
    if as_json:
        print_json(written)
        return
    console().print("\n".join(f"{key}: {value}" for key, value in written.items()), markup=False)


def predict(
    model: Annotated[Path, typer.Argument(help="A folder that `export` wrote.")],
    video: Annotated[Path, typer.Argument(help="A video file, or a folder of frames.")],
    picture: Annotated[
        Path | None, typer.Option(help="Write key frames and attention here.")
    ] = None,
    onset: Annotated[
        int, typer.Option(min=0, help="The onset's frame, counted from 0; by default the first.")
    ] = 0,
    apex: Annotated[
        int | None, typer.Option(min=0, help="The apex's frame, for a model of annotated apexes.")
    ] = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """The expression in a clip, with its probabilities, key frames and attention.

    Example: mer-search predict model clip.mp4 --picture clip.png
    """
    from mer_search.export import load

    found = load(model, device=device).predict(video, onset=onset, apex=apex)
    if picture:
        from mer_search.export.picture import write

        write(found, picture)
    if as_json:
        print_json(found.as_json())
        return
    out = console()
    out.print(f"{found.label}", style="bold")
    for name, share in sorted(found.probabilities.items(), key=lambda item: -item[1]):
        out.print(f"  {name:<14} {share:.3f} {'#' * round(30 * share)}")
    out.print(f"key frames {', '.join(map(str, found.keyframes))}")
    if found.temporal_attention:
        weights = ", ".join(f"{weight:.2f}" for weight in found.temporal_attention)
        out.print(f"their attention {weights}")
    for note in found.notes:
        out.print(f"note: {note}", markup=False)


def evaluate(
    model: Annotated[Path, typer.Argument(help="A folder that `export` wrote.")],
    reader: Annotated[str, typer.Argument(help="casme2 or manifest.")],
    root: Annotated[Path, typer.Argument(help="A data set that the model was not trained on.")],
    classes: Annotated[str | None, typer.Option(help="casme2-5, megc-3, ...")] = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Scores an exported model on another data set, pooled, by class and subject by subject.

    Example: mer-search evaluate model casme2 /data/other
    """
    from mer_search.datasets import read
    from mer_search.export import load
    from mer_search.export.evaluate import evaluate as stage
    from mer_search.export.evaluate import lines

    found = stage(load(model, device=device), read(reader, root, classes=classes))
    if as_json:
        print_json(found)
        return
    for line in lines(found):
        console().print(line, markup=False)


def score(
    log: Annotated[Path, typer.Argument(help="A prediction log in the MEGC format.")],
    as_json: AsJson = False,
) -> None:
    """UF1, UAR and accuracy of a prediction log, pooled and per data set.

    Example: mer-search score predictions.txt
    """
    from mer_search.loso.megc_log import score_log

    _print_scores(score_log(log), as_json)


def export_log(
    name: Name,
    trial: TrialOption = "best",
    out: Annotated[Path | None, typer.Option(help="A file instead of the terminal.")] = None,
    store: Store = STORE,
) -> None:
    """A trial's held-out predictions as a log in the MEGC format.

    Example: mer-search export-log first --out predictions.txt
    """
    from mer_search.report.log import export_log as stage

    text = stage(existing(store, name), _chosen(trial))
    if out:
        out.write_text(text)
        console().print(f"log: {out}")
    else:
        typer.echo(text, nl=False)


def _chosen(trial: str) -> int | Literal["best"]:
    if trial == "best":
        return "best"
    if not trial.isdigit():
        raise InputError("--trial", f"{trial!r} must be a trial's number or best")
    return int(trial)


def _print_scores(found: dict[str, object], as_json: bool) -> None:
    """Scores as JSON or in lines; nested ones (per data set) are indented."""
    if as_json:
        print_json(found)
        return
    from rich.pretty import pretty_repr

    for key, value in found.items():
        shown = f"{value:.4f}" if isinstance(value, float) else pretty_repr(value)
        console().print(f"{key}: {shown}", markup=False)
