"""What Ray Serve is told of each part: gateway, aligner, the analyzers of a version."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ray import serve

from aufleet.serving.config import GatewaySettings, Limits, ReplicaSettings
from aufleet.serving.gateway import ALIGNER, ALIGNER_APPLICATION, ANALYZER, Gateway
from aufleet.serving.handover import LONGEST_S
from aufleet.serving.routing import Route
from aufleet.serving.workers import LANE_GRACE_S, LanedAligner, LanedAnalyzer

GATEWAY_APPLICATION, GATEWAY = "gateway", "Gateway"

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
SERVE_LOGS = {"log_level": "CRITICAL", "enable_access_log": False}


def gateway_target(
    settings: GatewaySettings,
    *,
    routes: Sequence[Route],
    replicas: ReplicaSettings,
    generation: int = 0,
) -> serve.RunTarget:
    """Return the gateways; deployed again with other routes alone, they take them as they run.

    Args:
        settings: Where they listen.
        routes: Their routing table.
        replicas: How many there are.
        generation: With another one they are started anew, one after the other.
    """
    deployment = serve.deployment(
        Gateway,
        name=GATEWAY,
        num_replicas=replicas.num_gateways,
        # They share their port, so the new one answers before the old one stops.
        max_surge_percent=100,
        # Its calls come over its own port; only our own questions come through Ray.
        max_ongoing_requests=16,
        max_queued_requests=16,
        graceful_shutdown_timeout_s=LONGEST_S + settings.grace_s + 10,
        user_config={
            "routes": [asdict(route) for route in routes],
            "generation": generation,
        },
        ray_actor_options={"num_cpus": 0},
        **_DEPLOYMENT,
    )
    version = _version_of(settings, replicas, generation)
    deployment = deployment.options(version=version, _internal=True)
    return _target(deployment.bind(settings, replicas=replicas), GATEWAY_APPLICATION)


def aligner_target(limits: Limits, *, replicas: ReplicaSettings) -> serve.RunTarget:
    """Return the aligners."""
    deployment = serve.deployment(
        LanedAligner,
        name=ALIGNER,
        num_replicas=replicas.num_aligners,
        **_QUEUES,
        graceful_shutdown_timeout_s=LANE_GRACE_S + 5,
        ray_actor_options={"num_cpus": replicas.cpus},
        **_DEPLOYMENT,
    )
    application = deployment.bind(
        max_pixels=limits.max_pixels, max_waiting=replicas.max_waiting_photos
    )
    return _target(application, ALIGNER_APPLICATION)


def analyzer_target(
    application: str, *, package_uri: str, replicas: ReplicaSettings
) -> serve.RunTarget:
    """Return the analyzers of one version, or spare ones.

    Deployed again with a package alone, spare ones take it as they run.

    Args:
        application: Its name.
        package_uri: Where the version's package lies; empty for spare ones.
        replicas: How many there are, and what they take.
    """
    deployment = serve.deployment(
        LanedAnalyzer,
        name=ANALYZER,
        num_replicas=replicas.num_analyzers,
        **_QUEUES,
        graceful_shutdown_timeout_s=LANE_GRACE_S + 5,
        user_config={"package_uri": package_uri},
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
        **_DEPLOYMENT,
    )
    bound = deployment.options(version=_version_of(replicas), _internal=True).bind(
        max_batch=replicas.max_batch,
        max_waiting=replicas.max_waiting_faces,
        threads=replicas.threads,
        sharing=replicas.num_analyzers * replicas.num_models,
        device="cuda" if replicas.gpus else "cpu",
    )
    return _target(bound, application)


def _version_of(*settings: object) -> str:
    """Return what tells Serve that nothing but a `user_config` has changed.

    Without a version of ours each deployment is a new one to Serve, and restarts the replicas.
    """
    return hashlib.sha256(repr(settings).encode()).hexdigest()


def _target(application: Any, name: str) -> serve.RunTarget:  # noqa: ANN401 - Ray's Application
    return serve.RunTarget(
        target=application, name=name, route_prefix=None, logging_config=SERVE_LOGS
    )
