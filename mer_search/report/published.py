"""Published figures, with their protocol and what they were selected on. Not measured here.

They stand in `published.csv`, each with its source. A new row needs one, and says in
`selected_on` what chose the epoch and the settings: `unknown` where the publication does not.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_search.loso.result import Protocol

FILE = Path(__file__).with_name("published.csv")
CLASSES = {
    "megc-3": {"negative", "positive", "surprise"},
    "casme2-5": {"disgust", "happiness", "others", "repression", "surprise"},
}
"""Classes of the protocols in the file, by the name of their class map."""
SCORES = ("uf1", "uar", "accuracy")


@dataclass(frozen=True)
class Published:
    """One row.

    Attributes:
        protocol: the class map; together with `folds` and `clips` it says what was scored.
        scores: those of `SCORES` that were published.
        datasets: UF1 by data set, where published.
        selected_on: what chose the epoch and the settings.
    """

    method: str
    year: int | None
    protocol: str
    folds: str
    clips: int
    scores: dict[str, float]
    datasets: dict[str, float]
    selected_on: str
    source: str

    def as_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "year": self.year,
            "protocol": f"{self.protocol} {self.folds}",
            "clips": self.clips,
            **{name: self.scores.get(name) for name in SCORES},
            "datasets": {name: {"uf1": value} for name, value in self.datasets.items()},
            "selected_on": self.selected_on,
            "source": self.source,
        }


def published() -> tuple[Published, ...]:
    """Every row of the file, in its order."""
    with FILE.open(newline="") as file:
        return tuple(_row(row) for row in csv.DictReader(file))


def like(protocol: Protocol, folds: str) -> tuple[Published, ...]:
    """The rows with these classes and this kind of folds, the highest UF1 last."""
    own = set(protocol.classes)
    found = [r for r in published() if CLASSES[r.protocol] == own and r.folds == folds]
    return tuple(sorted(found, key=lambda row: row.scores.get("uf1", 0.0)))


def _row(row: dict[str, str]) -> Published:
    return Published(
        method=row["method"],
        year=int(row["year"]) if row["year"] else None,
        protocol=row["protocol"],
        folds=row["folds"],
        clips=int(row["clips"]),
        scores={name: float(row[name]) for name in SCORES if row[name]},
        datasets={name.removeprefix("uf1_"): float(value) for name, value in row.items()
                  if name.startswith("uf1_") and value},
        selected_on=row["selected_on"],
        source=row["source"],
    )  # fmt: skip
