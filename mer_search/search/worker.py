"""What a Ray worker does for a trial: each step is one block of folds, written, then reported.

Finished blocks are read from the ledger, never computed again. No Tune checkpoint exists.
"""

from __future__ import annotations

import math
import os
import platform
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from mer_search.config import Backbone, Features
from mer_search.datasets.clips import DataSet
from mer_search.errors import MerSearchError
from mer_search.experiment import Experiment
from mer_search.features import plan as feature_plan
from mer_search.features.assemble import feature_set
from mer_search.features.cache import Cache
from mer_search.features.records import FeatureSet, Regions
from mer_search.loso.fine_tune import FineTuning
from mer_search.loso.ledger import FoldBlock, Ledger
from mer_search.loso.memory import Plan, free_bytes, plan
from mer_search.loso.result import Protocol, pooled, read_result, scores_of
from mer_search.loso.run import regions_of, run_block
from mer_search.loso.train import parameters
from mer_search.search import courier
from mer_search.search.nodes import nodes, room
from mer_search.search.storing import StoreFault, writing


@dataclass(frozen=True)
class Material:
    """All that a worker needs besides a trial's number and parameters; sent once.

    Attributes:
        cache: the driver's folder of features.
        weights: digest of each network's weights, which no node but the driver's needs.
        identity, courier: of the driver's cache, where nodes may not see it.
    """

    experiment: Experiment
    dataset: DataSet
    protocol: Protocol
    ledger: Ledger
    cache: Path
    weights: dict[Backbone, str]
    identity: str = ""
    courier: Any = None


class LosoTrial(tune.Trainable):
    """One trial after another in one process (`reuse_actors`): nothing may leak between them."""

    def setup(self, config: dict[str, Any], material: Material | None = None) -> None:
        """Called once per process; `tune.with_parameters` brings the material."""
        assert material is not None
        self.material, self.ledger = material, material.ledger
        self.most = material.experiment.most_parameters
        beside = material.experiment.evaluation.beside
        self.counted = "parameters" in beside or self.most < math.inf
        self.features: FeatureSet | None = None
        self.assembled: object = None
        self.among, self.before = neighbours(material.experiment), free_bytes("cpu")
        torch.set_num_threads(max(1, int(material.experiment.resources.cpu)))
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Called between trials."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self.number = int(config["number"])
        self.trial = self.material.experiment.trial(config["params"])
        record = self.ledger.trial(self.number)
        self.blocks = read_result(self.ledger, record, self.material.protocol).blocks
        self.index = 0
        self.notes: list[str] = []
        self.plan: Plan | None = None

    def step(self) -> dict[str, Any]:
        """First how the trial is trained; then block by block its pooled scores so far.

        Instead of them `failed`, with the reason.
        """
        measured: dict[str, Any] = {}
        try:
            if self.counted:
                measured = {"parameters": self._parameters()}
                if (excess := measured["parameters"] / self.most - 1) > 0:
                    broken = f"{measured['parameters']} parameters, constraint {self.most:g}"
                    return {**measured, "excess": excess, "broken": broken, "done": True}
            if self.plan is None and self.index not in self.blocks:
                self.plan = self._plan()
                return {"plan": self.plan.as_record(), "told": self.plan.told, "done": False}
            block = self._block()
        except StoreFault as fault:
            return {"store": str(fault), "notes": self.notes, "done": True}
        except MerSearchError as fault:
            return {"failed": str(fault), "notes": self.notes, "done": True}
        # A border: whatever goes wrong inside a trial becomes its recorded reason.
        except Exception as fault:
            where = traceback.extract_tb(fault.__traceback__)[-1]
            place = f"{os.path.basename(where.filename)}:{where.lineno}"
            told = f"{type(fault).__name__} at {place}: {fault}"
            return {"failed": told, "notes": self.notes, "done": True}
        index, self.index = self.index, self.index + 1
        known = {i: b for i, b in self.blocks.items() if i <= index}
        return {
            **measured,
            "block": index,
            "seconds": block.seconds,
            "notes": self.notes,
            "scores": self._scores(known),
            "done": self.index == len(self.material.protocol.folds.blocks),
        }

    def _block(self) -> FoldBlock:
        """From the ledger where it is there, else trained and written."""
        if self.index not in self.blocks:
            device, said = _device()
            self.notes = [said] if said else []
            block = run_block(
                self._features(), self.material.protocol.folds, self.index,
                trial=self.trial, device=device, says=self.notes.append,
                width=self.plan.width if self.plan else None,
                seeds=self.material.experiment.evaluation.seeds,
            )  # fmt: skip
            with writing(self.ledger):
                self.ledger.write_block(self.number, self.index, block)
            self.blocks[self.index] = block
        return self.blocks[self.index]

    def _plan(self) -> Plan:
        """For the largest block; every block of the trial keeps to it."""
        device, _ = _device()
        sizes = (stop - start for start, stop in self.material.protocol.folds.blocks)
        before = self.before if device == "cpu" else None
        return plan(self._features(), max(sizes), self.trial, device=device,
                    among=self.among, before=before)  # fmt: skip

    def _parameters(self) -> int:
        features = self._features()
        classes = len(self.material.protocol.classes)
        if features.block is not None:
            return FineTuning(features, self.trial).parameters
        return parameters(self.trial.model, features.x.shape, classes)

    def _features(self) -> FeatureSet:
        """Assembled from the cache; kept while the next trial asks for the same."""
        wanted = (self.trial.features, regions_of(self.trial.model))
        if self.features is None or self.assembled != wanted:
            self.features = None  # two of them need not fit in memory
            self.features = assembled(self.material, *wanted)
            self.assembled = wanted
        return self.features

    def _scores(self, blocks: dict[int, FoldBlock]) -> dict[str, float]:
        protocol = self.material.protocol
        return scores_of(pooled(blocks, protocol.keys, len(protocol.classes)), protocol.label)


def assembled(material: Material, features: Features, regions: Regions) -> FeatureSet:
    """From the driver's cache, or from this node's copy of what it needs of it."""
    cache, sha256 = Cache(material.cache), material.weights[features.backbone]
    if material.courier is not None:
        cache = courier.cache_here(material.cache, material.identity)
    if cache.root != material.cache:
        keys = feature_plan.keys(material.dataset, [features], weights_sha256=sha256)
        courier.bring(keys, to=cache, courier=material.courier)
    return feature_set(
        material.dataset, features, cache=cache, regions=regions, weights_sha256=sha256
    )


def outer_block(material: Material, params: dict[str, Any], group: int) -> FoldBlock:
    """An outer group's predictions by these settings, trained on all other subjects."""
    torch.set_num_threads(max(1, int(material.experiment.resources.cpu)))
    trial = material.experiment.trial(params)
    features = assembled(material, trial.features, regions_of(trial.model))
    device, _ = _device()
    return run_block(
        features, material.protocol.folds, group, trial=trial, device=device,
        seeds=material.experiment.evaluation.seeds,
    )  # fmt: skip


def neighbours(experiment: Experiment) -> int:
    """How many trials this node, or each of its GPUs, may have under way at once."""
    asked, gpu = experiment.search.concurrency, experiment.resources.gpu
    if gpu:
        found = max(1, int(1 / gpu + 1e-9))
    else:
        here = ray.get_runtime_context().get_node_id()
        needs = {"CPU": float(experiment.resources.cpu)}
        found = max(1, room(needs, [node for node in nodes() if node.id == here]))
    return found if asked == "auto" else min(found, int(asked))


def _device() -> tuple[str, str]:
    return device_of(ray.get_runtime_context().get_accelerator_ids()["GPU"])


def device_of(granted: Sequence[str]) -> tuple[str, str]:
    """What Ray granted, and a sentence where torch cannot use it.

    Args:
        granted: Ray's names of the GPUs; it hides every other one from this process.
    """
    if not granted:
        return "cpu", ""
    if torch.cuda.is_available():
        return "cuda", ""
    return "cpu", (
        f"Ray granted GPU {', '.join(granted)} on {platform.node()}, where torch "
        f"{torch.__version__} finds no CUDA device, so the CPU was used; install "
        "torch for CUDA there, or set resources.gpu to 0"
    )
