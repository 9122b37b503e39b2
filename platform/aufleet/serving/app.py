"""What is deployed, in which order, and how it is stopped.

Each part is a Serve application of its own, so that a model comes and goes without the gateway:

    gateway   Gateway   its routing table is its user_config: Ray changes that in place
    aligner   Aligner
    model-<name>-<version>   Analyzer
    spare-<...>              Analyzer   has no version yet, or got one as its user_config

What comes and goes later is the release controller's (`release_controller`).
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError

from aufleet.errors import AufleetError, EnvironmentProblem, RegistryError
from aufleet.serving.config import GatewaySettings, ReleaseSettings, ReplicaSettings
from aufleet.serving.deployments import (
    GATEWAY_APPLICATION,
    SERVE_LOGS,
    aligner_target,
    analyzer_target,
    gateway_target,
)
from aufleet.serving.failures import reason_in
from aufleet.serving.gateway import ALIGNER_APPLICATION
from aufleet.serving.port import check_port, target_of
from aufleet.serving.release_controller import News, ReleaseSetup, start_controller
from aufleet.serving.routing import APPLICATION_PREFIX, SPARE_PREFIX, ServedVersion

READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0
NEWS_TIMEOUT_S = 5.0


class RunningService:
    """A service that answers, and what its release controller tells."""

    def __init__(
        self,
        target: str,
        *,
        metrics: Sequence[str],
        controller: Any,  # noqa: ANN401 - Ray's handle of an actor
    ) -> None:
        """Keep where it answers.

        Args:
            target: "host:port" for this machine.
            metrics: "host:port" where gateways may show metrics.
            controller: The release controller's handle.
        """
        self.target, self.metrics, self._controller = target, tuple(metrics), controller
        self._last = News(life="", count=0, lines=())

    def restart_gateways(self) -> None:
        """Let the gateways be started anew, one after the other."""
        self._controller.restart_gateways.remote()

    def news(self) -> tuple[str, ...]:
        """Return what has happened since this was last asked; nothing while nobody can tell."""
        try:
            asked = self._controller.news.remote(life=self._last.life, count=self._last.count)
            news: Any = ray.get(asked, timeout=NEWS_TIMEOUT_S)
        except RayError:
            return ()
        self._last = news
        return news.lines


@contextmanager
def serving(
    versions: Sequence[ServedVersion],
    *,
    gateway: GatewaySettings,
    replicas: ReplicaSettings,
    releases: ReleaseSettings,
) -> Iterator[RunningService]:
    """Serve while the body runs, on the Ray cluster that this process is connected to.

    Args:
        versions: Loaded before it is ready; from then on the registry decides.
        gateway: Where it listens.
        replicas: How many of each, and what they take.
        releases: How the registry is followed.

    Yields:
        The service; every one of the versions answers.

    Raises:
        EnvironmentProblem: The port is taken, or nothing was ready in time.
        RegistryError: A package cannot be loaded.
    """
    gateway = _with_ports(gateway)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(
        proxy_location="Disabled", http_options={"location": "NoServer"}, logging_config=SERVE_LOGS
    )
    controller = None
    try:
        port = _deploy(versions, gateway=gateway, replicas=replicas)
        controller = start_controller(
            ReleaseSetup(gateway=gateway, replicas=replicas, releases=releases)
        )
        yield RunningService(
            target_of(gateway.host, port=port),
            metrics=[target_of(gateway.metrics_host, port=each) for each in gateway.metrics_ports],
            controller=controller,
        )
    finally:
        # In a thread: when Ray has gone already, as after a signal to every process of a group,
        # its calls wait for it and then end the whole program.
        stopping = threading.Thread(target=_stop, args=[controller], daemon=True)
        stopping.start()
        stopping.join(gateway.grace_s + STOP_TIMEOUT_S)


def _with_ports(gateway: GatewaySettings) -> GatewaySettings:
    """Choose free ports now: a gateway that is started again must be found where it was.

    Raises:
        EnvironmentProblem: A port is taken, or the address is not one of this machine.
    """
    metrics_ports = tuple(
        check_port(gateway.metrics_host, port=port) for port in gateway.metrics_ports
    )
    port = check_port(gateway.host, port=gateway.port)
    return replace(gateway, port=port, metrics_ports=metrics_ports)


def _deploy(
    versions: Sequence[ServedVersion],
    *,
    gateway: GatewaySettings,
    replicas: ReplicaSettings,
) -> int:
    """Start everything at the same time and return the gateway's port."""
    routes = [version.route() for version in versions]
    targets = [
        gateway_target(gateway, routes=routes, replicas=replicas),
        aligner_target(gateway.limits, replicas=replicas),
        *(
            analyzer_target(
                version.own_application, package_uri=version.package_uri, replicas=replicas
            )
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


def _stop(controller: Any) -> None:  # noqa: ANN401 - Ray's handle of an actor, or None
    """Stop our applications, and leave others of the cluster alone.

    The controller goes first, so that nothing is started again; then the gateway, so that its last
    calls still find the others.
    """
    if not ray.is_initialized():
        return
    if controller is not None:
        with suppress(RayError):
            ray.get(controller.stop.remote(), timeout=STOP_TIMEOUT_S)
        ray.kill(controller)
    serve.delete(GATEWAY_APPLICATION)
    applications = _our_applications()
    for application in applications:
        serve.delete(application, _blocking=False)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while _our_applications() and time.monotonic() < deadline:
        time.sleep(0.1)


def _our_applications() -> list[str]:
    return [
        name
        for name in serve.status().applications
        if name == ALIGNER_APPLICATION or name.startswith((APPLICATION_PREFIX, SPARE_PREFIX))
    ]


def _reason_of(error: RuntimeError) -> AufleetError:
    """Return the error that stopped a deployment, as one sentence."""
    for status in serve.status().applications.values():
        for deployment in status.deployments.values():
            if found := reason_in(deployment.message):
                name, reason = found
                kind = RegistryError if name == "PackageError" else EnvironmentProblem
                return kind(f"the service did not start: {reason}")
    return EnvironmentProblem(f"the service did not start: {error}")
