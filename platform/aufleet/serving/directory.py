"""The present routing table of a gateway: kept, learned and shown as health.

An alias moves to a version only once that version's analyzer has told of itself to this gateway:
until then it stays where it was, so that no caller meets a model that is not ready.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio  # pyright: ignore[reportAttributeAccessIssue] - no stub

from aufleet.errors import AufleetError, NotReadyError
from aufleet.serving.pipeline import Replicas
from aufleet.serving.replicas import answer_of
from aufleet.serving.routing import Route, RoutingTable, holders_of, settled

HealthServicer: TypeAlias = aio.HealthServicer

RETRY_S = 0.5
"""How soon an analyzer that did not answer is asked again."""


class Directory:
    """Who answers for which model version."""

    def __init__(
        self,
        get_analyzer: Callable[[str], Replicas],
        *,
        health: HealthServicer,
        retry_s: float = RETRY_S,
        on_change: Callable[[Mapping[Route, bool]], None] = lambda _routes: None,
    ) -> None:
        """Begin without a model.

        Args:
            get_analyzer: Returns the handle of an application's analyzers.
            health: Shows which models are ready.
            retry_s: How soon an analyzer that did not answer is asked again.
            on_change: Told the routes, and whether each can answer.
        """
        self._on_change = on_change
        self._get_analyzer, self._health, self._retry_s = get_analyzer, health, retry_s
        self._analyzers: dict[str, Replicas] = {}
        self._learning: set[asyncio.Task[None]] = set()
        self._wanted: tuple[Route, ...] = ()
        self.table = RoutingTable()

    async def replace(self, routes: Iterable[Route]) -> None:
        """Route to these versions from now on; what is known of a version stays known."""
        self.close()
        self._wanted = tuple(routes)
        old = self._settle()
        self._analyzers = {
            # A handle knows its replicas already: kept, it goes on without a pause.
            route.application: self._analyzers.get(route.application)
            or self._get_analyzer(route.application)
            for route in self.table.routes
        }
        for route in self.table.routes:
            if self.table.known_facts(route) is None:
                self._learning.add(asyncio.create_task(self._learn(route)))
        await self._show_health(gone=old)

    def analyzer_of(self, route: Route) -> Replicas:
        """Return the handle of a version's analyzers.

        Raises:
            NotReadyError: The version is no longer served; the same question finds another one.
        """
        try:
            return self._analyzers[route.application]
        except KeyError:
            raise NotReadyError(f"{route.label} is no longer served", "ask again") from None

    async def await_ready(self) -> None:
        """Wait until every version of the present table is ready."""
        await asyncio.gather(*self._learning)

    def close(self) -> None:
        """Stop asking analyzers that have not answered."""
        for task in self._learning:
            task.cancel()
        self._learning = set()

    async def _learn(self, route: Route) -> None:
        """Ask a version's analyzers about their package until they answer."""
        while True:
            try:
                facts = await answer_of(self.analyzer_of(route).describe.remote())
                break
            except AufleetError:
                await asyncio.sleep(self._retry_s)
        self.table.learn(route, facts)
        self._settle()
        await self._show_health()

    def _settle(self) -> RoutingTable:
        """Make the table that is wanted, as far as it is known; returns the one before."""
        old = self.table
        facts = {route.application: old.known_facts(route) for route in old.routes}
        ready = {route.label for route in self._wanted if facts.get(route.application) is not None}
        self.table = RoutingTable(
            settled(self._wanted, held=holders_of(old.routes), can_answer=ready)
        )
        for route in self.table.routes:
            known = facts.get(route.application)
            if known is not None:
                self.table.learn(route, known)
        return old

    async def _show_health(self, *, gone: RoutingTable | None = None) -> None:
        """Set the health services "<model>" and "<model>:<version>"."""
        states = dict.fromkeys(_names(gone), health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        states |= dict.fromkeys(_names(self.table), health_pb2.HealthCheckResponse.NOT_SERVING)
        for route in self.table.routes:
            if self.table.known_facts(route) is not None:
                # A model is ready with the first of its versions.
                for name in (route.name, route.label):
                    states[name] = health_pb2.HealthCheckResponse.SERVING
        self._on_change(
            {route: self.table.known_facts(route) is not None for route in self.table.routes}
        )
        for name, state in states.items():
            await self._health.set(name, state)


def _names(table: RoutingTable | None) -> list[str]:
    routes = table.routes if table is not None else ()
    return [name for route in routes for name in (route.name, route.label)]
