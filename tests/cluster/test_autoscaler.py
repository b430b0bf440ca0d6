"""Ray's own autoscaler (v2) with nodes that it can really bring: trials that wait ask for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest
import services
import yaml
from hosts import Host, Network, missing
from lab import SPACE, write_maps
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

from mer_search.loso.ledger import Ledger

LACKING = missing()
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(LACKING), reason=LACKING),
]
# By its module: as `fake_multinode` it wants a file that Ray does not ship.
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
UNUSED = ("initialization_commands", "setup_commands", "head_setup_commands",
          "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands",
          "cluster_synced_files", "rsync_exclude", "rsync_filter")  # fmt: skip
NODES = """
import sys
from ray._raylet import GcsClient
every = GcsClient(address=sys.argv[1]).get_all_node_info(timeout=30).values()
print(sum(each.state == 0 for each in every) - 1, len(every) - 1)
"""


@pytest.fixture
def host() -> Iterator[Host]:
    """A head without processors whose autoscaler starts nodes of one core on the same host."""
    network = Network()
    try:
        host = network.host("head")
        known = services.Secrets()
        services.furnish(host, known.of_ray(), {
            "RAY_FAKE_CLUSTER": "1", "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        })  # fmt: skip
        config = {
            "cluster_name": "fake_multinode", "max_workers": 2, "idle_timeout_minutes": 0.1,
            "upscaling_speed": 100.0, "head_node_type": "ray.head.default",
            "provider": {"type": "external", "module": PROVIDER, "launch_multiple": True,
                         "head_node_id": FAKE_HEAD_NODE_ID,
                         "gcs_address": f"{host.address}:{services.GCS}"},
            "available_node_types": {
                "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                "one-core": {"resources": {"CPU": 1, "object_store_memory": 80_000_000},
                             "node_config": {}, "min_workers": 0, "max_workers": 2},
            },
            **{name: [] for name in UNUSED}, "file_mounts": {},
        }  # fmt: skip
        (host.disk / "autoscaling.json").write_text(json.dumps(config))
        services.ray(host, f"--autoscaling-config={network.own}/autoscaling.json")
        yield host
    finally:
        network.close()
        shutil.rmtree(network.folder)


def workers(host: Host) -> tuple[int, int]:
    """Nodes beside the head: there now, and there ever."""
    told = host.run("python", "-c", NODES, f"{host.address}:{services.GCS}").stdout.split()
    return int(told[0]), int(told[1])


def test_waiting_trials_bring_nodes_and_idle_nodes_leave(host: Host) -> None:
    own, maps = host.network.own, write_maps(host.disk / "maps")
    data = {"reader": "manifest", "root": str(own / maps.relative_to(host.disk))}
    (host.disk / "space.yaml").write_text(yaml.safe_dump({**SPACE, "data": data}))
    services.wait_until(lambda: services.answers(host, "127.0.0.1", services.DASHBOARD), "Ray")
    # Beside the head: Ray finds the nodes of its own machine among the processes. Not as a job: the
    # nodes share one folder here, and one that leaves would take the job's own away.
    launch = host.start(
        "python", "-m", "mer_search", "launch", "space.yaml", "--trials", 4,
        "--address", f"{host.address}:{services.GCS}", "--store", own / "store",
        "--tracking", "none", log="launch.log", beside=host.processes[0],
    )  # fmt: skip
    launch.wait(300)
    told = "\n".join((host.disk / f"{name}.log").read_text() for name in ("ray", "launch"))
    assert launch.returncode == 0, told
    assert "8 at a time" in told, "more trials wait than fit"
    trials = Ledger(str(host.disk / "store"), "drill").trials()
    assert [each.state for each in trials] == ["COMPLETE"] * 4
    assert workers(host)[1] == 2
    services.wait_until(lambda: workers(host)[0] == 0, "idle nodes leave")
