"""What Ray Serve must find in the environment, on every node, before Ray starts.

Ray reads these once, on import; so this module imports nothing of Ray.
"""

import os
from collections.abc import MutableMapping

SERVE_ENVIRONMENT = {
    # One event loop per replica: our code, the router and Ray's own server share it. Blocking
    # work runs in threads of ours.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    # gRPC between replicas. RAY_SERVE_THROUGHPUT_OPTIMIZED would do all this too, but it also
    # opens an HTTP port without a token for each replica.
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    # Whole photos travel to the aligner; 4 MiB is the default.
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(256 * 2**20),
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}


def use_serve_environment(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set what is not set yet; call it before Ray is imported."""
    for name, value in SERVE_ENVIRONMENT.items():
        environ.setdefault(name, value)
