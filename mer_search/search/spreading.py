"""Extraction spread over a cluster: nodes take shares of clips, the driver keeps what they return.

A node takes part where it sees the clips' files; networks that it lacks it fetches once. The others
only train. Whatever is missing or damaged afterwards is computed by the driver's own `fill`, so a
share that was lost costs time and nothing else. Not for launches on one machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import torch

from mer_search.config import Features
from mer_search.datasets import Clip, DataSet
from mer_search.errors import WeightsMissing
from mer_search.features import plan, weights
from mer_search.features.cache import Cache
from mer_search.features.extract import Progress, fill, waiting
from mer_search.features.records import FillReport
from mer_search.search.courier import Courier, bring, cache_here
from mer_search.search.nodes import PATIENCE, Node, nodes, short
from mer_search.search.worker import device_of

SHARE = 8
"""Clips given out together: seconds of work, so that no node waits long for the last one."""
TRIES = 2
"""Times a share is given out before it is left to the driver: its clips may be what ends a node."""
PAUSE = 2.0
"""Seconds after which the nodes are counted again."""
Says = Callable[[str], None]


class Extractor(Courier):
    """One per GPU, or per node without any; runs there and keeps what it makes in its cache."""

    def __init__(self, root: Path, identity: str, settings: Sequence[Features], cpus: int) -> None:
        super().__init__(cache_here(root, identity).root)
        self.here, self.settings = self.cache.root == root, settings
        torch.set_num_threads(max(1, cpus))

    def ready(self, identities: dict[str, str], files: dict[str, Any]) -> str:
        """What keeps this node from taking part, or ""; networks that it lacks are fetched."""
        import ray

        for backbone in {each.backbone for each in self.settings}:
            try:
                plan.identity(backbone)
            except WeightsMissing:
                weights.receive(backbone.name, ray.get(files[backbone.name]))
            if plan.identity(backbone) != identities[backbone.name]:
                return f"its weights of {backbone.name} are others than the driver's"
        return ""

    def embed(self, clips: Sequence[Clip]) -> tuple[int, int, bool]:
        """Fills this node's cache for the clips that it sees as the driver does.

        Returns:
            Frames embedded, clips that were not seen, and whether the cache is the driver's own.
        """
        import ray

        seen = tuple(clip for clip in clips if _same(clip))
        device, _ = device_of(ray.get_runtime_context().get_accelerator_ids()["GPU"])
        report = fill(DataSet("", "", (), seen), self.settings, cache=self.cache, device=device)
        return report.frames_embedded, len(clips) - len(seen), self.here


def _same(clip: Clip) -> bool:
    """Whether the files here are the driver's; its digest came along with the clip."""
    try:
        return replace(clip).digest == clip.digest
    except OSError:
        return False


@dataclass
class Share:
    """Clips that are given out together."""

    clips: tuple[Clip, ...]
    tries: int = 0


@dataclass
class Hand:
    """An extractor and what it does now: nothing, a share, or (at first) making itself ready."""

    node: Node
    actor: Any
    doing: Any
    share: Share | None = None


@dataclass
class Crew:
    """The extractors of all nodes and the shares that are left."""

    settings: Sequence[Features]
    cache: Cache
    left: deque[Share]
    says: Says
    hands: list[Hand] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    identities: dict[str, str] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    frames: int = 0
    done: int = 0
    heard: float = field(default_factory=monotonic)

    def recruit(self) -> None:
        """Starts extractors on nodes that are new here, late ones too."""
        if not self.identities:
            self._know()
        for node in nodes():
            if node.id in self.known:
                continue
            self.known.add(node.id)
            for asks in _asks(node):
                actor = _start(node, asks, self.cache, self.settings)
                doing = actor.ready.remote(self.identities, self.files)
                self.hands.append(Hand(node, actor, doing))

    def _know(self) -> None:
        """What the networks are; their files, which only nodes that lack them fetch."""
        import ray

        for backbone in {each.backbone for each in self.settings}:
            self.identities[backbone.name] = plan.identity(backbone)
            if backbone.weights == "pretrained" and backbone.name != "patches":
                self.files[backbone.name] = ray.put(weights.content(backbone.name))

    def turn(self) -> None:
        """Waits for what is under way, and gives out what is left to whoever is free."""
        import ray

        busy = {hand.doing: hand for hand in self.hands if hand.doing is not None}
        for ended in ray.wait(list(busy), timeout=PAUSE)[0] if busy else []:
            self.heard = monotonic()
            self._ended(busy[ended])
        for hand in self.hands:
            if hand.doing is None and self.left:
                hand.share = self.left.popleft()
                hand.doing = hand.actor.embed.remote(hand.share.clips)

    @property
    def working(self) -> bool:
        """Whether a share is under way, or is left and somebody may still take it."""
        if any(hand.share for hand in self.hands):
            return True
        return bool(self.left and self.hands) and monotonic() - self.heard < PATIENCE

    def dismiss(self) -> None:
        """Ends the extractors, so that trials have the nodes for themselves."""
        import ray

        for hand in self.hands:
            ray.kill(hand.actor)

    def _ended(self, hand: Hand) -> None:
        import ray
        from ray.exceptions import RayError, RayTaskError

        share, hand.share = hand.share, None
        # A border: what the extractor raised arrives as any class at all, and the driver's own
        # `fill` meets it again; what Ray raised about a node or process that went away does not.
        try:
            self._take(hand, share, ray.get(hand.doing))
            hand.doing = None
        except RayTaskError as fault:
            self.says(f"{hand.node.name} could not extract ({short(fault)}); the driver does it")
            self.hands.remove(hand)
        except RayError:
            self.hands.remove(hand)
            if share:
                share.tries += 1
                if share.tries < TRIES:
                    self.left.append(share)

    def _take(self, hand: Hand, share: Share | None, answer: Any) -> None:
        if share is None:
            if answer:
                self.says(f"{hand.node.name} takes no part in extraction: {answer}")
                self.hands.remove(hand)
            return
        frames, unseen, here = answer
        if not here:
            wanted = plan.keys(DataSet("", "", (), share.clips), self.settings)
            bring(wanted, to=self.cache, courier=hand.actor)
        self.frames += frames
        self.done += len(share.clips) - unseen
        if unseen == len(share.clips):
            self.says(
                f"{hand.node.name} takes no part in extraction: it does not see the data as the "
                "driver does"
            )
            self.left.append(share)
            self.hands.remove(hand)


def fill_over_cluster(
    dataset: DataSet,
    settings: Sequence[Features],
    *,
    cache: Cache,
    device: str = "cpu",
    progress: Progress | None = None,
    says: Says = lambda sentence: None,
) -> FillReport:
    """`fill`, with the nodes of the cluster around it doing what they can first.

    Args:
        says: is told which nodes take no part, and why.

    Raises:
        WeightsMissing, InputError: as `fill`.
    """
    started = perf_counter()
    clips = waiting(dataset, settings, cache=cache)
    shares = deque(Share(clips[at : at + SHARE]) for at in range(0, len(clips), SHARE))
    crew = Crew(settings, cache, shares, says)
    faces = any(each.of_faces for each in settings)
    if faces and len(shares) > 1:  # else the nodes' first import takes longer than the work
        _work(crew, len(clips), progress)
    report = fill(dataset, settings, cache=cache, device=device, progress=progress)
    return replace(
        report, frames_embedded=report.frames_embedded + crew.frames,
        seconds=perf_counter() - started,
    )  # fmt: skip


def _work(crew: Crew, clips: int, progress: Progress | None) -> None:
    """All turns; how many frames there are to do is reckoned from the clips done so far."""
    begun = perf_counter()
    try:
        crew.recruit()
        while crew.working:
            before = crew.done
            crew.turn()
            if progress and crew.done > before:
                total = max(crew.frames, round(crew.frames / crew.done * clips))
                progress(crew.frames, total, crew.frames / (perf_counter() - begun))
            if crew.left:
                crew.recruit()
    finally:
        crew.dismiss()


def _asks(node: Node) -> list[dict[str, float]]:
    """What the extractors of a node ask for: a GPU each, or one of them all its processors."""
    gpus, cpus = int(node.resources.get("GPU", 0)), int(node.resources.get("CPU", 0))
    if gpus:
        return [{"num_gpus": 1, "num_cpus": cpus // gpus}] * gpus
    return [{"num_gpus": 0, "num_cpus": cpus}] if cpus else []


def _start(node: Node, asks: dict[str, float], cache: Cache, settings: Sequence[Features]) -> Any:
    """An extractor on its way; busy nodes let it wait."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node.id, soft=False)
    actor: Any = ray.remote(Extractor)
    return actor.options(scheduling_strategy=there, **asks).remote(
        cache.root, cache.identity(), list(settings), int(asks["num_cpus"])
    )
