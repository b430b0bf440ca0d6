"""The nodes of a cluster: which there are, whether more come, and a question to each of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mer_search.errors import InputError, MerSearchError

PATIENCE = 120.0
"""Seconds a node may take to answer; its first Python process has to start in them."""
DECIDES = 20.0
"""Seconds in which an autoscaler says whether it can bring what is asked for."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster as Ray lists it."""

    id: str
    name: str
    resources: dict[str, float]


def reach(address: str) -> None:
    """Knocks before Ray does, which goes on knocking for minutes.

    Raises:
        InputError: an address of another kind.
        MerSearchError: nobody listens there.
    """
    host, _, port = address.rpartition(":")
    if address in ("auto", "local"):
        return
    if "/" in address or not host or not port.isdigit():
        raise InputError(
            "--address",
            f"{address!r} is no Ray cluster; write auto or HOST:PORT (as a rule port 6379), or "
            "send the search to a job server with `mer-search submit`",
        )
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as fault:
        raise MerSearchError(
            f"no Ray cluster answers at {address} ({fault}); start one, or mend --address"
        ) from fault


def nodes() -> list[Node]:
    """The nodes that are alive now, by name."""
    import ray

    found = [
        Node(
            each["NodeID"],
            f"{each['NodeManagerHostname']} ({each['NodeManagerAddress']})",
            {key: float(value) for key, value in each["Resources"].items()},
        )
        for each in ray.nodes()  # type: ignore[no-untyped-call]
        if each["Alive"]
    ]
    return sorted(found, key=lambda node: (node.name, node.id))


def fits(needs: Mapping[str, float], resources: Mapping[str, float]) -> bool:
    """Whether one trial fits on an idle node with these resources."""
    return all(resources.get(name, 0.0) >= amount for name, amount in needs.items())


def room(needs: Mapping[str, float], there: Sequence[Node]) -> int:
    """How many trials fit on these nodes at the same time."""
    asked = {name: amount for name, amount in needs.items() if amount}
    return sum(
        int(min(node.resources.get(name, 0.0) / amount for name, amount in asked.items()) + 1e-9)
        for node in there
    )


def coming(needs: Mapping[str, float], count: int = 1) -> bool:
    """Whether an autoscaler (v2) brings what `count` trials need: asked for it, it says so."""
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.core.generated.autoscaler_pb2 import (  # type: ignore[attr-defined]
        GetClusterStatusReply,
    )

    gcs = GcsClient(address=ray.get_runtime_context().gcs_address)
    if not is_autoscaler_v2(fetch_from_server=True, gcs_client=gcs):
        return False
    group = ray.util.placement_group([dict(needs)] * count)
    try:
        until = time.monotonic() + DECIDES
        while time.monotonic() < until:
            reply = gcs.get_cluster_status(timeout_s=5)
            state = GetClusterStatusReply.FromString(reply).autoscaling_state
            if state.pending_instance_requests or state.pending_instances:
                return True
            if state.infeasible_gang_resource_requests:
                return False
            time.sleep(0.5)
    finally:
        ray.util.remove_placement_group(group)
    return False


def on_each(
    there: Sequence[Node], ask: Callable[..., Any], *arguments: object
) -> list[tuple[Any, str]]:
    """Runs `ask(*arguments, node id)` on every node at once: its answer, or why there is none."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=1)(ask)
    waiting = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote(*arguments, node.id)
        for node in there
    ]
    if not waiting:
        return []
    done, _ = ray.wait(waiting, num_returns=len(waiting), timeout=PATIENCE)
    late = (None, f"no answer within {PATIENCE:.0f} s")
    return [_answer(each) if each in done else late for each in waiting]


def _answer(reference: Any) -> tuple[Any, str]:
    import ray

    # A border: an import that fails on the node arrives as any class at all.
    try:
        return ray.get(reference), ""
    except Exception as fault:
        return None, short(fault)


def short(fault: BaseException) -> str:
    """Kind and last line of a fault: where Ray and botocore put the cause."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return f"{type(fault).__name__}: {lines[-1]}" if lines else type(fault).__name__
