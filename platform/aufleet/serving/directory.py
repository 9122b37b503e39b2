"""The present routing table of a gateway: kept, learned and shown as health."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeAlias

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio  # pyright: ignore[reportAttributeAccessIssue] - no stub

from aufleet.errors import AufleetError
from aufleet.serving.pipeline import Replicas
from aufleet.serving.replicas import answer_of
from aufleet.serving.routing import Route, RoutingTable

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
    ) -> None:
        """Begin without a model.

        Args:
            get_analyzer: Returns the handle of an application's analyzers.
            health: Shows which models are ready.
            retry_s: How soon an analyzer that did not answer is asked again.
        """
        self._get_analyzer, self._health, self._retry_s = get_analyzer, health, retry_s
        self._analyzers: dict[str, Replicas] = {}
        self._learning: set[asyncio.Task[None]] = set()
        self.table = RoutingTable()

    async def replace(self, routes: Iterable[Route]) -> None:
        """Route to these versions from now on; what is known of a version stays known."""
        self.close()
        old, self.table = self.table, RoutingTable(routes)
        self._analyzers = {
            route.application: self._get_analyzer(route.application) for route in self.table.routes
        }
        for route in self.table.routes:
            facts = old.known_facts(route)
            if facts is not None:
                self.table.learn(route, facts)
            else:
                self._learning.add(asyncio.create_task(self._learn(route)))
        await self._show_health(gone=old)

    def analyzer_of(self, route: Route) -> Replicas:
        """Return the handle of a version's analyzers."""
        return self._analyzers[route.application]

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
        await self._show_health()

    async def _show_health(self, *, gone: RoutingTable | None = None) -> None:
        """Set the health services "<model>" and "<model>:<version>"."""
        states = dict.fromkeys(_names(gone), health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        states |= dict.fromkeys(_names(self.table), health_pb2.HealthCheckResponse.NOT_SERVING)
        for route in self.table.routes:
            if self.table.known_facts(route) is not None:
                # A model is ready with the first of its versions.
                for name in (route.name, route.label):
                    states[name] = health_pb2.HealthCheckResponse.SERVING
        for name, state in states.items():
            await self._health.set(name, state)


def _names(table: RoutingTable | None) -> list[str]:
    routes = table.routes if table is not None else ()
    return [name for route in routes for name in (route.name, route.label)]
