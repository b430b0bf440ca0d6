"""`submit`: a search as a job on a Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from mer_search.commands.options import (
    STORE,
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
)  # fmt: skip


def submit(
    space: Space,
    address: Annotated[str, typer.Option(help="The job server, as http://HOST:8265.")],
    name: Named = None,
    trials: Trials = None,
    store: Store = STORE,
    tracking: Tracking = None,
    warm_start: WarmStart = None,
    settings: Settings = None,
    device: Device = "cpu",
    wait: Annotated[bool, typer.Option(help="Follow the log until the job ends.")] = True,
) -> None:
    """Runs a search on a cluster as a Ray job and follows its log; Ctrl-C leaves it running.

    Submitting again finds the running job, or continues the search with a new one.

    Example: mer-search submit casme2_paper --address http://127.0.0.1:8265 --store s3://lab/runs
    """
    from mer_search.search import submit as stage

    experiment = asked(space, name, trials, settings)
    stage.check_places(experiment, store, tracking)  # before anything is asked of the network
    job = stage.submit(
        experiment, stage.connect(address), store=store, tracking=tracking, device=device,
        warm_start=warm_start,
    )  # fmt: skip
    out = console()
    out.print(
        f"job {job.id} runs this search already" if job.found else f"job {job.id} is submitted"
    )
    if not wait:
        return
    try:
        code = stage.follow(job, lambda text: out.print(text, end="", markup=False))
    except KeyboardInterrupt:
        out.print(
            f"\nleft job {job.id} running; the same command follows it again, "
            f"`mer-search stop {experiment.name} --store {store}` ends it after its blocks"
        )
        raise typer.Exit(130) from None
    raise typer.Exit(code)
