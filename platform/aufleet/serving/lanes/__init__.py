"""Lanes: UNIX sockets from a gateway to the replicas on its own node.

A call through Ray's handle costs more than everything else in a gateway (measured in
`tests/benchmarks`: `serve_throughput.py`), so calls within a node go past it. Ray still starts,
watches and replaces the replicas, and carries calls to other nodes, and whatever finds no lane.

    <Ray's session folder>/lane/<digest of the application>/<process id>

The folders belong to this user alone, so whoever can connect could also read this process's memory:
what travels is pickled, as Ray's own messages are.
"""

from aufleet.serving.lanes.gateway_end import Lanes
from aufleet.serving.lanes.places import lanes_folder
from aufleet.serving.lanes.replica_end import Lane, open_lane

__all__ = ["Lane", "Lanes", "lanes_folder", "open_lane"]
