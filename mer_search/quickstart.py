"""The whole way on one machine, without account, server or data set."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated

import typer

SPACE = "quickstart"


def quickstart(
    directory: Annotated[Path, typer.Option("--dir", help="Where everything is written.")] = Path(
        "quickstart"
    ),
    trials: Annotated[int, typer.Option(help="Trials of the search.")] = 8,
    signal: Annotated[
        float, typer.Option(help="0: labels that mean nothing; scores then stay at chance.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the invented faces.")] = 0,
) -> None:
    """Writes a small semi-synthetic data set, searches, compares, exports, and labels one clip.

    Example: mer-search quickstart --dir quickstart
    """
    from mer_search.commands import results, searches
    from mer_search.commands.options import console
    from mer_search.datasets import synthetic
    from mer_search.errors import InputError
    from mer_search.features.weights import fetch

    out, begun = console(), time.time()
    directory = directory.expanduser().absolute()
    demo, store, model = directory / "data", directory / "mer-runs", directory / "model"
    made = {"signal": signal, "seed": seed}
    note = directory / "data.json"
    if note.exists() and json.loads(note.read_text()) != made:
        raise InputError(
            directory,
            f"holds a data set made with {note.read_text()}, not {json.dumps(made)}; "
            "give another --dir",
        )
    if not demo.exists():
        out.print("1 of 5: writing faces that move (8 subjects, 80 clips)")
        directory.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(made))
        synthetic.write(demo, signal=signal, seed=seed)
    fetch("facenet-casia")
    os.environ["MER_SEARCH_DEMO"] = str(demo)
    out.print("2 of 5: searching (real face detection, real FaceNet features, LOSO folds)")
    searches.launch(SPACE, trials=trials, store=str(store))
    out.print("\n3 of 5: comparing")
    results.compare([SPACE], store=str(store), html=directory / "report.html")
    if not model.exists():
        out.print("\n4 of 5: exporting the best trial, trained on all subjects")
        results.export(SPACE, out=model, store=str(store), portable=False)
    clip = next(path for path in sorted(demo.glob("*/sub*/*")) if path.is_dir())
    out.print(f"\n5 of 5: labelling the clip {clip.relative_to(directory)}")
    results.predict(model, clip, picture=directory / "prediction.png")
    out.print(
        f"\nDone in {time.time() - begun:.0f} s. Everything is in {directory}:\n"
        f"  report        {directory / 'report.html'} (open it in a browser)\n"
        f"  model         {model} (card.md says what it is)\n"
        f"  picture       {directory / 'prediction.png'}\n"
        "Type next:\n"
        f"  mer-search status {SPACE} --store {store}\n"
        f"  mlflow ui --backend-store-uri sqlite:///{store}/mlflow.db\n"
        f"  mer-search launch {SPACE} --store {store} --trials {2 * trials}   # goes on with it\n"
        "The faces are invented: these scores say that the way works, nothing about "
        "micro-expressions."
    )
