"""`submit`: a search as a job on a Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from mer_search.commands.options import STORE, Device, Settings, Store, Tracking, console


def submit(
    space: Annotated[str, typer.Argument(help="A search-space file, or a shipped name.")],
    address: Annotated[str, typer.Option(help="The job server, as http://HOST:8265.")],
    name: Annotated[str | None, typer.Option(help="Instead of the file's name.")] = None,
    trials: Annotated[
        int | None, typer.Option(help="How many in all, earlier ones counted.")
    ] = None,
    store: Store = STORE,
    tracking: Tracking = None,
    settings: Settings = None,
    device: Device = "cpu",
    wait: Annotated[bool, typer.Option(help="Follow the log until the job ends.")] = True,
) -> None:
    """Runs a search on a cluster as a Ray job and follows its log; Ctrl-C leaves it running.

    Submitting again finds the running job, or continues the search with a new one.

    Example: mer-search submit casme2_paper --address http://127.0.0.1:8265 --store s3://lab/runs
    """
    from mer_search import space_file
    from mer_search.search import submit as stage

    changes = [*(settings or ())]
    changes += [f"name={name}"] if name else []
    changes += [f"search.trials={trials}"] if trials is not None else []
    experiment = space_file.read(space, changes)
    stage.check_places(experiment, store, tracking)  # before anything is asked of the network
    job = stage.submit(
        experiment, stage.connect(address), store=store, tracking=tracking, device=device
    )
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
