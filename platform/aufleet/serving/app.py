"""What is deployed, in which order, and how it is stopped.

Each part is a Serve application of its own, so that a model comes and goes without the gateway:

    gateway   Gateway   its routing table is its user_config: Ray changes that in place
    aligner   Aligner
    <model>-<version>   Analyzer
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import ray
from ray import serve

from aufleet.errors import AufleetError, EnvironmentProblem, RegistryError
from aufleet.serving.aligner import Aligner
from aufleet.serving.analyzer import Analyzer
from aufleet.serving.config import GatewaySettings, Limits, ReplicaSettings
from aufleet.serving.gateway import ALIGNER, ALIGNER_APPLICATION, ANALYZER, Gateway
from aufleet.serving.port import check_port, target_of
from aufleet.serving.routing import Route, ServedVersion

GATEWAY_APPLICATION, GATEWAY = "gateway", "Gateway"
READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0

_DEPLOYMENT = {
    # An own package that does not load will not load the second time either.
    "max_constructor_retry_count": 1,
    "graceful_shutdown_wait_loop_s": 0.1,
    "health_check_period_s": 5,
    "health_check_timeout_s": 30,
}
# The queues that matter are in the replicas: bounded, and their deadlines are kept. Ray's router
# must not find a replica full, because it asks again only after 25 ms, then 50, then 100.
_QUEUES = {"max_ongoing_requests": 1024, "max_queued_requests": 1024}
# At ERROR a replica writes a traceback for every photo that is refused; the gateway's own log
# has what matters.
_SERVE_LOGS = {"log_level": "CRITICAL", "enable_access_log": False}


@contextmanager
def serving(
    versions: Sequence[ServedVersion],
    *,
    gateway: GatewaySettings,
    replicas: ReplicaSettings,
) -> Iterator[str]:
    """Serve while the body runs, on the Ray cluster that this process is connected to.

    Args:
        versions: Loaded at the start.
        gateway: Where it listens.
        replicas: How many of each, and what they take.

    Yields:
        The target, "host:port" for this machine; every model answers.

    Raises:
        EnvironmentProblem: The port is taken, or nothing was ready in time.
        RegistryError: A package cannot be loaded.
    """
    check_port(gateway.host, port=gateway.port)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(
        proxy_location="Disabled", http_options={"location": "NoServer"}, logging_config=_SERVE_LOGS
    )
    try:
        port = _deploy(versions, gateway=gateway, replicas=replicas)
        yield target_of(gateway.host, port=port)
    finally:
        applications = [ALIGNER_APPLICATION, *(version.route.application for version in versions)]
        # In a thread: when Ray has gone already, as after a signal to every process of a group,
        # its calls wait for it and then end the whole program.
        stopping = threading.Thread(target=_stop, args=[applications], daemon=True)
        stopping.start()
        stopping.join(gateway.grace_s + STOP_TIMEOUT_S)


def _deploy(
    versions: Sequence[ServedVersion],
    *,
    gateway: GatewaySettings,
    replicas: ReplicaSettings,
) -> int:
    """Start everything at the same time and return the gateway's port."""
    targets = [
        _target(
            _gateway(gateway, routes=[version.route for version in versions], replicas=replicas),
            GATEWAY_APPLICATION,
        ),
        _target(_aligner(gateway.limits, replicas=replicas), ALIGNER_APPLICATION),
        *(
            _target(_analyzer(version, replicas=replicas), version.route.application)
            for version in versions
        ),
    ]
    try:
        handles = serve.run_many(targets)
        # This process has no event loop, unlike the replicas (see `environment`).
        handles[0]._init(_run_router_in_separate_loop=True)
        return handles[0].await_ready.remote().result(timeout_s=READY_TIMEOUT_S)
    except RuntimeError as error:
        raise _reason_of(error) from error
    except TimeoutError as error:
        raise EnvironmentProblem(
            f"the service was not ready within {READY_TIMEOUT_S:g} s"
        ) from error


def _target(application: Any, name: str) -> serve.RunTarget:  # noqa: ANN401 - Ray's Application
    return serve.RunTarget(
        target=application, name=name, route_prefix=None, logging_config=_SERVE_LOGS
    )


def _gateway(
    settings: GatewaySettings, *, routes: Sequence[Route], replicas: ReplicaSettings
) -> Any:  # noqa: ANN401 - Ray's Application
    deployment = serve.deployment(
        Gateway,
        name=GATEWAY,
        num_replicas=replicas.num_gateways,
        max_replicas_per_node=1,
        # The port is one, so the old gateway stops before the new one starts.
        max_surge_percent=0,
        # Its calls come over its own port; only our own questions come through Ray.
        max_ongoing_requests=16,
        max_queued_requests=16,
        graceful_shutdown_timeout_s=settings.grace_s + 10,
        user_config={"routes": [asdict(route) for route in routes]},
        ray_actor_options={"num_cpus": 0},
        **_DEPLOYMENT,
    )
    return deployment.bind(settings)


def _aligner(limits: Limits, *, replicas: ReplicaSettings) -> Any:  # noqa: ANN401 - Ray's
    deployment = serve.deployment(
        Aligner,
        name=ALIGNER,
        num_replicas=replicas.num_aligners,
        **_QUEUES,
        graceful_shutdown_timeout_s=10,
        ray_actor_options={"num_cpus": replicas.cpus},
        **_DEPLOYMENT,
    )
    return deployment.bind(max_pixels=limits.max_pixels, max_waiting=replicas.max_waiting_photos)


def _analyzer(version: ServedVersion, *, replicas: ReplicaSettings) -> Any:  # noqa: ANN401 - Ray's Application
    deployment = serve.deployment(
        Analyzer,
        name=ANALYZER,
        num_replicas=replicas.num_analyzers,
        **_QUEUES,
        graceful_shutdown_timeout_s=10,
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
        **_DEPLOYMENT,
    )
    return deployment.bind(
        version.package_uri,
        max_batch=replicas.max_batch,
        max_waiting=replicas.max_waiting_faces,
        threads=replicas.threads,
        device="cuda" if replicas.gpus else "cpu",
    )


def _stop(applications: Sequence[str]) -> None:
    """Stop our applications, and leave others of the cluster alone.

    The gateway goes first, so that its last calls still find the others.
    """
    if not ray.is_initialized():
        return
    serve.delete(GATEWAY_APPLICATION)
    for application in applications:
        serve.delete(application, _blocking=False)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while set(applications) & set(serve.status().applications) and time.monotonic() < deadline:
        time.sleep(0.1)


def _reason_of(error: RuntimeError) -> AufleetError:
    """Return the error that stopped a deployment, as one sentence.

    Serve only tells the text of the replica's traceback; its last line of ours is the reason.
    """
    for status in serve.status().applications.values():
        for deployment in status.deployments.values():
            for line in reversed(deployment.message.splitlines()):
                name, colon, reason = line.strip().rpartition("aufleet.errors.")[2].partition(": ")
                if colon and name.isidentifier() and "aufleet.errors." in line:
                    kind = RegistryError if name == "PackageError" else EnvironmentProblem
                    return kind(f"the service did not start: {reason}")
    return EnvironmentProblem(f"the service did not start: {error}")
