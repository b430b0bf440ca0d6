"""A search, then the same search once per outer group of subjects: what the procedure is worth.

Each inner search runs on the subjects outside its group, in STORE/NAME/outer/03 with a ledger's
own layout; its winner, trained on all of them, predicts the group. No clip of the group has had
any part in choosing that winner, so the pooled predictions are not optimistic.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Unpack

from mer_search.config import Racing
from mer_search.errors import MerSearchError, SearchDiffers
from mer_search.experiment import Experiment
from mer_search.features.cache import Cache
from mer_search.loso.folds import make_folds
from mer_search.loso.ledger import FoldBlock, Ledger
from mer_search.loso.result import LosoResult, Protocol, choose, read_results
from mer_search.search import driver
from mer_search.search.cluster import ray_cluster
from mer_search.search.driver import Options, Outcome
from mer_search.search.hold import hold
from mer_search.search.prepare import Prepared
from mer_search.search.tuning import material_of
from mer_search.search.watching import StopWith, Watcher


@dataclass(frozen=True)
class _Launch:
    """What every inner search of one launch shares."""

    experiment: Experiment
    ledger: Ledger
    cache: Cache
    address: str | None
    device: str
    watchers: tuple[Watcher, ...]


def launch(
    experiment: Experiment, *, store: str, cache: Cache, **options: Unpack[Options]
) -> Outcome:
    """`driver.launch`, then the outer groups where `evaluation.outer` asks for them.

    Interrupted and continued like any search: finished blocks, searches and groups stay.

    Raises:
        Errors of `driver.launch`.
        SearchDiffers: outer groups of another kind are stored already.
        MerSearchError: an inner search has no trial with all folds.
    """
    ledger = Ledger(store, experiment.name)
    outcome = driver.launch(experiment, store=store, cache=cache, **options)
    if experiment.evaluation.outer is None or outcome.ended != "finished":
        return outcome
    shared = _Launch(
        experiment, ledger, cache, options.get("address"), options.get("device", "cpu"),
        options.get("watchers", ()),
    )  # fmt: skip
    with hold(ledger):
        return _outer(shared, outcome)


def _outer(shared: _Launch, outcome: Outcome) -> Outcome:
    """The groups in order, until one of them is interrupted."""
    protocol = _outer_protocol(shared, outcome.prepared.protocol)
    groups = len(protocol.folds)
    open_groups = [group for group in range(groups) if not _done(shared, group)]
    with ExitStack() as stack:
        if open_groups:
            stack.enter_context(ray_cluster(shared.address))
        for group in open_groups:
            subjects = protocol.folds.subjects[group]
            if shared.ledger.stop_asked():
                return replace(outcome, ended="stopped")
            names = ", ".join("/".join(subject) for subject in subjects)
            _say(shared, f"outer group {group + 1} of {groups}: a search without {names}")
            inner = _inner_search(shared, protocol, group)
            outcome = replace(
                inner,
                prepared=outcome.prepared,
                started=outcome.started + inner.started,
                failed=outcome.failed + inner.failed,
            )
            if inner.ended != "finished":
                return outcome
            _hold_out(shared, outcome.prepared, protocol, group)
    for watcher in shared.watchers:
        watcher.nested()
    return outcome


def _done(shared: _Launch, group: int) -> bool:
    """Whether the inner search has its trials and its winner has predicted the group."""
    inner, objective = shared.ledger.inner(group), shared.experiment.evaluation.objective
    if not inner.exists():
        return False
    results = read_results(inner)
    ended = [result for result in results if result.record.state != "RUNNING"]
    if len(ended) < max(len(results), shared.experiment.search.trials):
        return False
    if not any(result.complete for result in results):
        return False  # which is told when the group's turn comes
    return inner.held_out(choose(results, "best", objective).record.number) is not None


def _say(shared: _Launch, sentence: str) -> None:
    for watcher in shared.watchers:
        if watcher.follows_inner:
            watcher.says(sentence)


def _outer_protocol(shared: _Launch, protocol: Protocol) -> Protocol:
    """The stored outer groups, or new ones: each fold is a group and a block of its own."""
    experiment, ledger = shared.experiment, shared.ledger
    assert experiment.evaluation.outer is not None
    kind, stored = experiment.evaluation.outer.folds, ledger.outer()
    if stored is not None:
        if stored["kind"] != kind:
            raise SearchDiffers(
                ledger.root,
                f"evaluation.outer.folds: was {stored['kind']!r}, now {kind!r}\nthe stored groups "
                "are kept; launch with the first value, or give the search another --name",
            )
        return Protocol.from_json(stored)
    folds = make_folds(protocol.subject, protocol.label, protocol=kind, seed=experiment.search.seed)
    folds = replace(folds, blocks=tuple((group, group + 1) for group in range(len(folds))))
    outer = replace(protocol, folds=folds)
    ledger.create_outer({"kind": kind, **outer.to_json()})
    return outer


def _inner_search(shared: _Launch, protocol: Protocol, group: int) -> Outcome:
    """The search on the clips that the group does not hold."""
    held = protocol.folds.held_out[group]
    clips = frozenset(key for key, out in zip(protocol.keys, held, strict=True) if not out)
    inner = shared.ledger.inner(group)
    followers = tuple(watcher for watcher in shared.watchers if watcher.follows_inner)
    return driver.launch(
        inner_experiment(shared.experiment, inner.name, group), store=inner.store,
        cache=shared.cache, address=shared.address, device=shared.device, clips=clips,
        watchers=(*followers, StopWith(shared.ledger)),
    )  # fmt: skip


def inner_experiment(experiment: Experiment, name: str, group: int) -> Experiment:
    """The same search under another seed, so that groups do not share the sampler's luck.

    Block sizes that a user gave fit the folds of all subjects, so inner searches choose theirs.
    """
    search = experiment.search
    racing = Racing.model_validate({**search.racing.model_dump(), "blocks": "auto"})
    changed = search.model_copy(update={"seed": search.seed + group + 1, "racing": racing})
    evaluation = experiment.evaluation.model_copy(update={"outer": None})
    return replace(experiment, name=name, search=changed, evaluation=evaluation)


def _hold_out(shared: _Launch, prepared: Prepared, protocol: Protocol, group: int) -> None:
    """The inner winner predicts the group, unless it has done so already."""
    inner = shared.ledger.inner(group)
    winner = _winner(inner, shared.experiment.evaluation.objective)
    number = winner.record.number
    if inner.held_out(number) is not None:
        return
    block = _predict_group(shared, prepared, protocol, group, winner)
    inner.write_held_out(number, block)


def _winner(inner: Ledger, objective: str) -> LosoResult:
    results = read_results(inner)
    if not any(result.complete for result in results):
        raise MerSearchError(
            f"{inner.root}: none of its {len(results)} trials has all folds, so it has no winner "
            "for its outer group; raise --trials"
        )
    return choose(results, "best", objective)


def _predict_group(
    shared: _Launch, prepared: Prepared, protocol: Protocol, group: int, winner: LosoResult
) -> FoldBlock:
    """Trained on a worker, where a trial of this search would run."""
    import ray

    from mer_search.search.worker import outer_block

    material = material_of(
        shared.experiment, prepared.dataset, protocol, ledger=shared.ledger, cache=shared.cache,
        far=bool(shared.address),
    )  # fmt: skip
    needs = shared.experiment.resources
    task = ray.remote(num_cpus=needs.cpu, num_gpus=needs.gpu)(outer_block)
    block: FoldBlock = ray.get(task.remote(material, winner.record.params, group))
    return block
