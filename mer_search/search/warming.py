"""`--warm-start NAME`: decided at the first launch and kept, so that a relaunch proposes alike."""

from __future__ import annotations

from collections.abc import Callable

from mer_search.config import Evaluation
from mer_search.errors import InputError, SearchDiffers, did_you_mean
from mer_search.experiment import Experiment
from mer_search.loso.ledger import Ledger, TrialRecord, searches
from mer_search.search.prepare import stored
from mer_search.study.warm import carry_over


def warm(
    experiment: Experiment,
    ledger: Ledger,
    name: str | None,
    *,
    says: Callable[[str], None] = lambda sentence: None,
) -> tuple[TrialRecord, ...]:
    """Trials of an earlier search that guide this one; () without a warm start.

    Raises:
        InputError: there is no search of that name, or it had another objective.
        SearchDiffers: this search exists and began otherwise.
    """
    if ledger.exists():
        known, trials = ledger.warm()
        if name and name != known:
            began = f"with --warm-start {known}" if known else "without a warm start"
            raise SearchDiffers(
                ledger.root, f"--warm-start {name}: this search began {began}; give a new --name"
            )
        return trials
    if not name:
        ledger.write_warm("", ())
        return ()
    earlier = Ledger(ledger.store, name)
    if not earlier.exists():
        hint = did_you_mean(name, searches(ledger.store))
        raise InputError("--warm-start", f"{ledger.store} holds no search {name!r}; {hint}")
    before = stored(earlier)[0]
    there, here = _scored(before.evaluation), _scored(experiment.evaluation)
    if there != here:
        raise InputError(
            "--warm-start",
            f"{name} was scored with {there} and this search is with {here}; its scores say "
            "nothing here: name a search with the same, or leave --warm-start out",
        )
    found = carry_over(before, earlier.trials(), experiment)
    ledger.write_warm(name, found.used)
    says(found.told(name))
    return found.used


def _scored(evaluation: Evaluation) -> str:
    """What scores must share to be compared; more seeds only make them steadier."""
    objectives = ", ".join([evaluation.objective, *evaluation.beside])
    return f"evaluation.folds {evaluation.folds}, objective {objectives}"
