"""A real Ray cluster of two nodes on this machine, and this process as its driver."""

import gc
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aufleet.cli import ray_session
from aufleet.cli.orphans import no_orphans

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster


@contextmanager
def two_nodes() -> Iterator[str]:
    """Start two nodes with one CPU each, connect, and yield the address; end all of it after."""
    import ray

    # As the command line does; a cluster without authentication runs anybody's code.
    ray_session._use_random_token()
    with (
        no_orphans(),
        tempfile.TemporaryDirectory(prefix="aufleet-", dir="/tmp") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        # Ray notes its address there, or in a place that is the whole machine's.
        patch.setenv("RAY_TMPDIR", folder)
        Path(folder, "ray").mkdir()
        cluster = _start_cluster()
        connect(cluster.address, names=())
        os.environ["RAY_ADDRESS"] = cluster.address
        try:
            yield cluster.address
        finally:
            del os.environ["RAY_ADDRESS"]
            ray.shutdown()
            cluster.shutdown()


def connect(address: str, *, names: tuple[str, ...]) -> None:
    """Connect this process as a driver whose workers see some of its variables."""
    import ray

    variables = {name: os.environ[name] for name in names}
    ray.init(address=address, log_to_driver=False, runtime_env={"env_vars": variables})


def _start_cluster() -> "Cluster":
    """Start two nodes; once more where a busy machine was too slow for Ray's half a minute."""
    from ray.cluster_utils import Cluster

    # While it looks for free ports, Ray leaves sockets to the collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        cluster = _start_two_nodes(Cluster)
        gc.collect()
    return cluster


def _start_two_nodes(kind: "type[Cluster]") -> "Cluster":
    for attempt in range(3):
        cluster = kind()
        try:
            cluster.add_node(num_cpus=1, include_dashboard=False)
            cluster.add_node(num_cpus=1)
        except Exception as error:  # Ray raises a bare one
            if attempt == 2 or "timed out" not in str(error):
                raise
            cluster.shutdown()
        else:
            return cluster
    raise AssertionError
