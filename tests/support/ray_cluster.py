"""A real Ray cluster of several nodes in this machine: each has a raylet and workers of its own."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

_NODE = {"include_dashboard": False, "object_store_memory": 80_000_000}


@contextlib.contextmanager
def ray_cluster(nodes: int = 2, *, cpus: int = 1) -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster` of so many nodes with so many CPUs each, at `.address`; on exit it has ended."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # sends nothing to anyone
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=cpus, **_NODE)
        yield cluster
    finally:
        cluster.shutdown()
