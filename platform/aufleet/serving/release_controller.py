"""One actor that follows the registry: an alias that moves there reaches callers within seconds.

It only tells Serve what to run and which routing table the gateways take; no call goes through it.
Killed, it is started again by Ray and goes on from the table that the gateways have; while it, the
registry or the store is away, what is loaded goes on answering.
"""

import os
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aufleet.errors import AufleetError
from aufleet.serving.config import GatewaySettings, ReleaseSettings, ReplicaSettings
from aufleet.serving.deployments import (
    GATEWAY,
    GATEWAY_APPLICATION,
    analyzer_target,
    gateway_target,
)
from aufleet.serving.failures import reason_in
from aufleet.serving.following import Following
from aufleet.serving.releases import Found, Releases, Status
from aufleet.serving.routing import APPLICATION_PREFIX, SPARE_PREFIX, Route, ServedVersion

ACTOR_NAME, NAMESPACE = "aufleet-release-controller", "aufleet"
ANSWER_TIMEOUT_S = 10.0
LOADING_S = 0.2
"""How soon it is looked again at what is being loaded."""
PATIENT_AFTER_S = 60.0
"""What is not loaded by then waits for something else, a GPU perhaps: no hurry any more."""
STEADY_S = 5.0
"""How often it is looked at what runs where nothing is being loaded and no alias has moved."""
_STATUS: Mapping[ApplicationStatus, Status] = {
    ApplicationStatus.RUNNING: "ready",
    ApplicationStatus.DEPLOY_FAILED: "failed",
    ApplicationStatus.DELETING: "going",
}
"""Everything else is on its way to one of them: Serve goes on trying what was ready once."""


@dataclass(frozen=True, kw_only=True)
class ReleaseSetup:
    """What the controller is started with, also after it was killed."""

    gateway: GatewaySettings
    replicas: ReplicaSettings
    releases: ReleaseSettings


@dataclass(frozen=True, kw_only=True)
class News:
    """What has happened since a moment."""

    life: str
    """Differs after the controller was started again: its count begins anew."""
    count: int
    """All sentences of this life so far."""
    lines: tuple[str, ...]
    """The new ones."""


class ReleaseController:
    """The actor; its work runs in a thread, so that it answers at any time."""

    def __init__(self, setup: ReleaseSetup) -> None:
        """Begin to follow the registry."""
        # MLflow tries a server that is away for minutes by itself; asking again is ours.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        self._setup = setup
        self._life, self._news = uuid.uuid4().hex, list[str]()
        self._releases = Releases(settings=setup.releases)
        self._following: Following | None = None
        self._wanted: list[ServedVersion] | None = None
        self._last_wanted: list[ServedVersion] | None = None
        self._look_at = self._turn_at = 0.0
        self._changing_since: float | None = None
        self._pushed: tuple[tuple[Route, ...], int] | None = None
        self._generation = 0
        self._away, self._trouble = "", ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def news(self, *, life: str, count: int) -> News:
        """Return what has happened since the answer that had this life and this count."""
        start = count if life == self._life else 0
        return News(life=self._life, count=len(self._news), lines=tuple(self._news[start:]))

    def restart_gateways(self) -> None:
        """Let the gateways be started anew, one after the other: new code, new settings."""
        self._generation += 1
        self._say("the gateways are started anew")

    def stop(self) -> None:
        """Do nothing more, once the present turn has ended."""
        self._stopping.set()
        self._thread.join(ANSWER_TIMEOUT_S)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._pushed is None:
                    self._adopt()
                self._turn()
                self._say_trouble("")
            except Exception as error:
                # Serve or Ray is busy with itself, as after a kill: the next turn tries again.
                self._say_trouble(f"the releases stand still ({_one_line(error)})")
            self._stopping.wait(self._pause_s())

    def _pause_s(self) -> float:
        """Return how long nothing has to be looked at."""
        if not self._releases.is_changing:
            self._changing_since = None
            return self._setup.releases.poll_s
        now = time.monotonic()
        if self._changing_since is None:
            self._changing_since = now
        is_soon = now - self._changing_since < PATIENT_AFTER_S
        return LOADING_S if is_soon else self._setup.releases.poll_s

    def _adopt(self) -> None:
        """Go on from the routing table that the gateways have."""
        handle = serve.get_deployment_handle(GATEWAY, app_name=GATEWAY_APPLICATION)
        handle._init(_run_router_in_separate_loop=True)
        routes, generation = handle.routes.remote().result(timeout_s=ANSWER_TIMEOUT_S)
        self._releases.adopt(routes)
        self._generation = max(self._generation, generation)
        self._pushed = tuple(routes), generation

    def _turn(self) -> None:
        """Look once, and do what is to be done."""
        wanted = self._look()
        if wanted is None or (self._is_steady(wanted) and time.monotonic() < self._turn_at):
            return
        self._turn_at = time.monotonic() + STEADY_S
        step = self._releases.step(wanted, _found())
        for line in step.news:
            self._say(line)
        if (step.routes, self._generation) != self._pushed:
            self._push(step.routes, generation=self._generation)
        if step.load:
            self._load(step.load)
        for application in step.unload:
            serve.delete(application, _blocking=False)
        self._last_wanted = wanted

    def _is_steady(self, wanted: list[ServedVersion]) -> bool:
        """Return whether nothing has to be done at once."""
        return (
            wanted is self._last_wanted
            and not self._releases.is_changing
            and self._pushed is not None
            and self._pushed[1] == self._generation
        )

    def _look(self) -> list[ServedVersion] | None:
        """Return what the registry wants; too soon, or where it is away, what it wanted before."""
        settings = self._setup.releases
        if time.monotonic() < self._look_at:
            return self._wanted
        self._look_at = time.monotonic() + settings.poll_s
        try:
            if self._following is None:
                from aufleet.registry.versions import Versions

                self._following = Following(
                    settings.references, versions=Versions(settings.registry_uri)
                )
            self._wanted = self._following.look()
        except Exception as error:  # MLflow's, SQLAlchemy's, the network's
            self._say_away(f"the registry does not answer ({_one_line(error)}); serving goes on")
        else:
            self._say_away("")
        return self._wanted

    def _push(self, routes: tuple[Route, ...], *, generation: int) -> None:
        try:
            target = gateway_target(
                self._setup.gateway,
                routes=routes,
                replicas=self._setup.replicas,
                generation=generation,
            )
            serve.run_many([target], wait_for_applications_running=False)
        except BaseException:
            self._releases.routes_are_late()
            raise
        self._pushed = routes, generation

    def _load(self, packages: Mapping[str, str]) -> None:
        targets = [
            analyzer_target(application, package_uri=uri, replicas=self._setup.replicas)
            for application, uri in packages.items()
        ]
        try:
            serve.run_many(targets, wait_for_applications_running=False)
        except BaseException:
            self._releases.was_not_loaded(packages)
            raise

    def _say_away(self, line: str) -> None:
        if bool(line) != bool(self._away):
            self._say(line or "the registry answers again")
        self._away = line

    def _say_trouble(self, line: str) -> None:
        if line and line != self._trouble:
            self._say(line)
        self._trouble = line

    def _say(self, line: str) -> None:
        self._news.append(line)


def start_controller(setup: ReleaseSetup) -> Any:  # noqa: ANN401 - Ray's handle of an actor
    """Start the actor on this node, where the registry's file may lie; returns its handle."""
    return (
        ray.remote(ReleaseController)
        .options(
            name=ACTOR_NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy=NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=True
            ),
        )
        .remote(setup)
    )


def _found() -> dict[str, Found]:
    """Return how the applications of versions and the spare ones are."""
    return {
        name: Found(
            status=_STATUS.get(application.status, "loading"),
            reason=_reason(application),
        )
        for name, application in serve.status().applications.items()
        if name.startswith((APPLICATION_PREFIX, SPARE_PREFIX))
    }


def _reason(application: ApplicationStatusOverview) -> str:
    for deployment in application.deployments.values():
        if found := reason_in(deployment.message):
            return found[1]
    return "its process did not start"


def _one_line(error: Exception) -> str:
    text = str(error) if isinstance(error, AufleetError) else f"{type(error).__name__}: {error}"
    return text.strip().partition("\n")[0][:200]
