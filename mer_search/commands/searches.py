"""`launch`, `list`, `status`, `stop`, `track`, `study`: searches and where they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mer_search.commands.options import (
    STORE,
    AsJson,
    Device,
    Named,
    Settings,
    Space,
    Store,
    Tracking,
    Trials,
    WarmStart,
    asked,
    console,
    print_json,
)  # fmt: skip
from mer_search.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from mer_search.experiment import Experiment
    from mer_search.loso.confirmed import Confirmed
    from mer_search.loso.ledger import Ledger
    from mer_search.search.driver import Outcome

Name = Annotated[str, typer.Argument(help="The search's name in the store.")]


def existing(store: str, name: str) -> Ledger:
    """The ledger of a search that exists. Raises InputError with the nearest name."""
    from mer_search.loso import stores

    return stores.existing(store, name)


def launch(
    space: Space,
    name: Named = None,
    trials: Trials = None,
    store: Store = STORE,
    tracking: Tracking = None,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster; or auto.")] = None,
    warm_start: WarmStart = None,
    settings: Settings = None,
    device: Device = "cpu",
) -> None:
    """Starts a search, or continues it: finished folds are never computed again.

    Example: mer-search launch quickstart --name first --trials 16 --set train.epochs=40
    """
    experiment = asked(space, name, trials, settings)
    outcome, again = run(
        experiment, console(), store=store, tracking=tracking, address=address, device=device,
        warm_start=warm_start,
    )  # fmt: skip
    _tell(outcome, again, experiment, store)
    if outcome.cut_short:
        raise typer.Exit(130)


def run(
    experiment: Experiment,
    out: Console,
    *,
    store: str,
    tracking: str | None,
    address: str | None,
    device: str,
    warm_start: str | None = None,
) -> tuple[Outcome, tuple[Confirmed, ...]]:
    """Starts or continues a search, shows it on `out` and in MLflow, and confirms its best."""
    from mer_search.features.cache import Cache
    from mer_search.loso.ledger import Ledger
    from mer_search.search.confirm import confirm
    from mer_search.search.live import Screen
    from mer_search.search.mirroring import Mirroring
    from mer_search.search.nested import launch as stage

    screen = Screen(out)
    ledger = Ledger(store, experiment.name)
    mirror = Mirroring(ledger, tracking, screen.says, report=lambda: report_of(ledger))
    try:
        outcome = stage(
            experiment, store=store, cache=Cache.default(), address=address, device=device,
            progress=screen.extracts, watchers=(screen, mirror), warm_start=warm_start,
        )  # fmt: skip
        outcome, again = confirm(outcome, experiment, ledger, cache=Cache.default(),
                                 address=address, watchers=(screen,))  # fmt: skip
    finally:
        screen.close()
        mirror.close()
    return outcome, again


def _tell(
    outcome: Outcome, again: tuple[Confirmed, ...], experiment: Experiment, store: str
) -> None:
    """How a launch ended, and what to type next."""
    out = console()
    if not outcome.started and outcome.ended == "finished":
        out.print(
            f"nothing to run: the search has its {experiment.search.trials} trials; raise --trials"
        )
    if outcome.failed:
        out.print(f"failed: {outcome.failed}; `mer-search status {experiment.name}` says why")
    for trial in again:
        out.print(trial.told(experiment.evaluation.objective))
    if outcome.why:
        out.print(f"{outcome.why}, no finished fold is lost")
    elif outcome.ended != "finished":
        out.print(f"{outcome.ended}; the same command continues, no finished fold is lost")
    out.print(f"next: mer-search compare {experiment.name} --store {store}")


def stop(name: Name, store: Store = STORE) -> None:
    """Asks a running search to end after its running blocks; launching it again continues it.

    Example: mer-search stop casme2-attention
    """
    existing(store, name).ask_to_stop()
    console().print(f"asked {name} to end after its running blocks")


def list_(store: Store = STORE, as_json: AsJson = False) -> None:
    """Every search in a store, one line each.

    Example: mer-search list --store ./mer-runs
    """
    import mer_search.report.status as stage

    found = stage.read_all(store)
    if as_json:
        print_json([each.as_json() for each in found])
    else:
        console().print(stage.table(found, store))


def status(name: Name, store: Store = STORE, as_json: AsJson = False) -> None:
    """Where a search stands: states, folds done, best so far, rate, time left.

    Example: mer-search status casme2-attention
    """
    import mer_search.report.status as stage

    found = stage.read(existing(store, name))
    if as_json:
        print_json(found.as_json())
    else:
        console().print(stage.page(found))


def track(
    name: Name,
    store: Store = STORE,
    tracking: Tracking = None,
    pictures: Annotated[
        str | None, typer.Option(help="Draw this trial's confusions and curve; or all.")
    ] = None,
) -> None:
    """Brings MLflow in line with the ledger: missing runs appear, no run appears twice.

    Example: mer-search track casme2-attention --tracking http://127.0.0.1:5000 --pictures 17
    """
    from mer_search.search.hold import held
    from mer_search.tracking.mirror import mirror
    from mer_search.tracking.place import links, page_command, uri_of

    ledger = existing(store, name)
    uri, drawn = uri_of(ledger, tracking), _drawn(pictures)
    done = mirror(ledger, uri, running=held(ledger), pictures_of=drawn, report=report_of(ledger))
    out = console()
    out.print(f"{done.created} runs created, {done.written} brought up to date in {uri}")
    out.print(f"see them: {page_command(uri)}")
    if table := links(ledger, tracking).get("trials in MLflow"):
        out.print(f"as a table: {table}", markup=False)


def _drawn(pictures: str | None) -> int | Literal["all"] | None:
    if pictures is None:
        return None
    if pictures == "all":
        return "all"
    if not pictures.isdigit():
        raise InputError("--pictures", f"{pictures!r} must be a trial's number or all")
    return int(pictures)


def report_of(ledger: Ledger) -> str:
    """The page that stands beside a search in MLflow."""
    from mer_search.report import page
    from mer_search.report.compare import compare

    return page.render(compare([ledger]))


def study(
    name: Name,
    storage: Annotated[str, typer.Option(help="SQLAlchemy URL, as sqlite:///study.db.")],
    store: Store = STORE,
) -> None:
    """Writes the search as an Optuna study into a database, to look at with Optuna's own tools.

    Example: mer-search study casme2-attention --storage sqlite:///study.db
    """
    from mer_search.search.prepare import stored
    from mer_search.study.rebuild import write_study

    ledger = existing(store, name)
    trials = write_study(stored(ledger)[0], ledger.trials(), storage)
    console().print(f"study {name} with {trials} trials in {storage}")
