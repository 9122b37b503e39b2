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
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from aufleet.errors import EnvironmentProblem
from aufleet.serving.call import Call
from aufleet.serving.exchange import LocatedFaces, NetworkAnswers
from aufleet.serving.port import join
from aufleet.serving.routing import Route

OTHER = "other"
"""Methods that we do not have: a stranger may invent as many as he likes."""
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
FACES = (1, 2, 4, 8, 16, 32, 64)


class Closable(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """End it."""
        ...


class Metrics:
    """The counters of one gateway."""

    def __init__(self, *, methods: Iterable[str]) -> None:
        """Begin at zero.

        Args:
            methods: The methods that there are, "/package.Service/Method".
        """
        self.registry = CollectorRegistry()
        self._methods = frozenset(methods)
        self._requests = Counter(
            "aufleet_requests_total",
            "Calls that have ended",
            ("method", "code", "model"),
            registry=self.registry,
        )
        self._seconds = self._histogram("aufleet_request_seconds", "Time of a call", "method")
        self._in_flight = self._gauge("aufleet_requests_in_flight", "Calls under way", "method")
        self._stages = self._histogram("aufleet_stage_seconds", "Time of a stage", "stage")
        self._batches = Histogram(
            "aufleet_batch_size",
            "Faces that shared a forward pass",
            ("model",),
            buckets=FACES,
            registry=self.registry,
        )
        self._queue = self._gauge("aufleet_queue_length", "Faces that waited", "model")
        self._ready = self._gauge(
            "aufleet_model_ready", "1 while a version answers", "model", "version"
        )
        self._aliases = self._gauge(
            "aufleet_alias_info", "1 where an alias points", "model", "alias", "version"
        )
        self._handshakes = Counter(
            "aufleet_tls_handshakes_total", "Connections begun", registry=self.registry
        )

    def began(self, call: Call) -> None:
        """Count a call in."""
        self._in_flight.labels(self._method_of(call)).inc()

    def ended(self, call: Call, *, code: str) -> None:
        """Count a call that was counted in and has ended."""
        method = self._method_of(call)
        self._in_flight.labels(method).dec()
        self._requests.labels(method, code, call.model).inc()
        self._seconds.labels(method).observe(call.elapsed_ms / 1e3)

    def refused(self, call: Call, *, code: str) -> None:
        """Count a call that was never let in."""
        self._requests.labels(self._method_of(call), code, "").inc()

    def answered(self, answer: object, *, model: str) -> None:
        """Count what a replica says of its work."""
        if isinstance(answer, LocatedFaces):
            self._observe_stages(answer.timings_ms)
        elif isinstance(answer, NetworkAnswers):
            self._observe_stages({"network": answer.network_ms})
            if answer.batch_size:
                self._batches.labels(model).observe(answer.batch_size)
                self._queue.labels(model).set(answer.num_waiting)

    def shook_hands(self) -> None:
        """Count a connection."""
        self._handshakes.inc()

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
            self._stages.labels(stage).observe(ms / 1e3)

    def _method_of(self, call: Call) -> str:
        return call.method if call.method in self._methods else OTHER

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=SECONDS, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)


class MetricsPort:
    """The HTTP port that shows the metrics, whatever the path."""

    def __init__(self, metrics: Metrics, *, host: str, port: int) -> None:
        """Open the port.

        Raises:
            EnvironmentProblem: It is taken, or the address is not one of this machine.
        """
        try:
            self._server, self._thread = start_http_server(
                port, addr=host, registry=metrics.registry
            )
        except OSError as error:
            raise EnvironmentProblem(
                f"metrics cannot be shown on {join(host, port)} ({error.strerror})",
                "choose another --metrics-port, or 0 for a free one",
            ) from error
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
