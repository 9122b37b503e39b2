"""What a gateway counts, for Prometheus; on a port of its own that shows nothing else.

aufleet_requests_total{method,code,model}    calls that have ended, streams too
aufleet_request_seconds{method}              from a call's arrival to its end
aufleet_requests_in_flight{method}           calls that are being answered
aufleet_stage_seconds{stage}                 decode, find_face, align, network
aufleet_batch_size{model}                    faces that shared a forward pass
aufleet_queue_length{model}                  faces that waited in the analyzer, as last told
aufleet_model_ready{model,version}           1 while a version answers
aufleet_alias_info{model,alias,version}      1 where the alias points
aufleet_tls_handshakes_total                 connections that were begun, refused ones too
aufleet_tls_refused_total{reason}            connections that ended in their handshake
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from aufleet.serving.call import Call
from aufleet.serving.exchange import LocatedFaces, NetworkAnswers
from aufleet.serving.routing import Route

OTHER = "other"
"""Methods that we do not have: a stranger may invent as many as he likes."""
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
AGAIN_S = 1.0
FACES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The counters of one gateway."""

    def __init__(self, *, methods: Iterable[str]) -> None:
        """Begin at zero.

        Args:
            methods: The methods that there are, "/package.Service/Method".
        """
        self.registry = CollectorRegistry()
        self._methods = frozenset(methods)
        requests = Counter(
            "aufleet_requests_total",
            "Calls that have ended",
            ("method", "code", "model"),
            registry=self.registry,
        )
        seconds = self._histogram("aufleet_request_seconds", "Time of a call", "method")
        in_flight = self._gauge("aufleet_requests_in_flight", "Calls under way", "method")
        stages = self._histogram("aufleet_stage_seconds", "Time of a stage", "stage")
        batches = Histogram(
            "aufleet_batch_size",
            "Faces that shared a forward pass",
            ("model",),
            buckets=FACES,
            registry=self.registry,
        )
        queue = self._gauge("aufleet_queue_length", "Faces that waited", "model")
        self._ready = self._gauge(
            "aufleet_model_ready", "1 while a version answers", "model", "version"
        )
        self._aliases = self._gauge(
            "aufleet_alias_info", "1 where an alias points", "model", "alias", "version"
        )
        self._handshakes = Counter(
            "aufleet_tls_handshakes_total", "Connections begun", registry=self.registry
        )
        self._refused_handshakes = Counter(
            "aufleet_tls_refused_total",
            "Connections that ended in their handshake",
            ("reason",),
            registry=self.registry,
        )
        # To find a counter takes longer than to count.
        self._requests_of, self._seconds_of = cache(requests.labels), cache(seconds.labels)
        self._in_flight_of, self._stage_of = cache(in_flight.labels), cache(stages.labels)
        self._batches_of, self._queue_of = cache(batches.labels), cache(queue.labels)

    def began(self, call: Call) -> None:
        """Count a call in."""
        self._in_flight_of(self._method_of(call)).inc()

    def ended(self, call: Call, *, code: str) -> None:
        """Count a call that was counted in and has ended."""
        method = self._method_of(call)
        self._in_flight_of(method).dec()
        self._requests_of(method, code, call.model).inc()
        self._seconds_of(method).observe(call.elapsed_ms / 1e3)

    def refused(self, call: Call, *, code: str) -> None:
        """Count a call that was never let in."""
        self._requests_of(self._method_of(call), code, "").inc()

    def answered(self, answer: object, *, model: str) -> None:
        """Count what a replica says of its work."""
        if isinstance(answer, LocatedFaces):
            self._observe_stages(answer.timings_ms)
        elif isinstance(answer, NetworkAnswers):
            self._observe_stages({"network": answer.network_ms})
            if answer.batch_size:
                self._batches_of(model).observe(answer.batch_size)
                self._queue_of(model).set(answer.num_waiting)

    def shook_hands(self) -> None:
        """Count a connection."""
        self._handshakes.inc()

    def refused_handshake(self, reason: str) -> None:
        """Count a connection that ended in its handshake."""
        self._refused_handshakes.labels(reason).inc()

    def routed(self, routes: Mapping[Route, bool]) -> None:
        """Show the present routing table; the value says whether a version is ready."""
        self._ready.clear()
        self._aliases.clear()
        for route, is_ready in routes.items():
            self._ready.labels(route.name, route.version).set(is_ready)
            for alias in route.aliases:
                self._aliases.labels(route.name, alias, route.version).set(1)

    def _observe_stages(self, timings_ms: Mapping[str, float]) -> None:
        for stage, ms in timings_ms.items():
            self._stage_of(stage).observe(ms / 1e3)

    def _method_of(self, call: Call) -> str:
        return call.method if call.method in self._methods else OTHER

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=SECONDS, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)


class MetricsPort:
    """The HTTP port that shows the metrics, whatever the path.

    Each gateway of a node needs its own: it takes the first free one of a few, and where the
    gateway that it follows still has that, it asks again.
    """

    def __init__(self, metrics: Metrics, *, host: str, ports: Sequence[int]) -> None:
        """Keep where it may listen.

        Args:
            metrics: What it shows.
            host: The address.
            ports: One of these; none for no port at all.
        """
        self._metrics, self._host, self._ports = metrics, host, tuple(ports)
        self._server: WSGIServer | None = None
        self._opening: asyncio.Task[None] | None = None

    @property
    def port(self) -> int | None:
        """The port it has; None as long as it has none."""
        return None if self._server is None else self._server.server_port

    def open(self) -> None:
        """Open a port now, or as soon as one is free."""
        if self._ports and not self._open_one():
            self._opening = asyncio.create_task(self._open_later())

    async def close(self) -> None:
        """Close the port."""
        if self._opening is not None:
            self._opening.cancel()
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._server.server_close()

    async def _open_later(self) -> None:
        while not self._open_one():
            await asyncio.sleep(AGAIN_S)

    def _open_one(self) -> bool:
        for port in self._ports:
            with suppress(OSError):
                self._server, _ = start_http_server(
                    port, addr=self._host, registry=self._metrics.registry
                )
                return True
        return False
