"""The gateway's speed: python tests/benchmarks/serve_throughput.py.

TLS, token, gateway and an analyzer whose network costs nothing, asked for the action units of an
aligned frame: requests per second at 32 callers and the median time of one caller. Beside it a bare
TLS gateway that only passes bytes through Ray's handle to a replica that does nothing, the least
that a gateway and an analyzer can be without Ray and without any promise (`least_service.py`), and
Serve's own gRPC proxy (no TLS, no token) in front of the same analyzer. Client and server share the
machine's cores, so the CPU time that each process takes per request stands beside it. The program
fails below 950 requests/s or above 2.0 ms.
"""

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `cards`
from reference import trivial
from reference.pictures import aligned_frame

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.serving.environment import use_serve_environment

METHOD = "/aufleet.api.v1.FaceAnalysisService/DetectActionUnits"
CALLERS = 32
MIN_RATE, MAX_P50_MS = 950.0, 2.0
PARTS = {
    "gateway": "ServeReplica:gateway",
    "proxy": "ProxyActor",
    "analyzer": "ServeReplica:model",
    "idle replica": "ServeReplica:idle",
    "least gateway": "least_service.py gateway",
    "least analyzer": "least_service.py analyzer",
}
console = Console(width=110)


@dataclass
class Measured:
    """What one way of serving did.

    Attributes:
        rates: Requests per second at 32 callers, one per round.
        p50s_ms: Median times of one caller, one per round.
        cpu_ms: Part -> CPU time per request at 32 callers.
    """

    rates: list[float] = field(default_factory=list)
    p50s_ms: list[float] = field(default_factory=list)
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)


def main() -> int:
    """Measure, print, judge."""
    logging.disable(logging.INFO)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each stretch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=list(WAYS), help="not all")
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.out:
        measured = _measure(WAYS[options.only], options)
        options.out.write_text(json.dumps(vars(measured)))
        return 0
    found = {name: _in_a_process(name, options) for name in WAYS if options.only in (None, name)}
    _show(found)
    ours = found.get("gateway")
    if ours is None:
        return 0
    return 0 if max(ours.rates) >= MIN_RATE and min(ours.p50s_ms) <= MAX_P50_MS else 1


def _in_a_process(name: str, options: argparse.Namespace) -> Measured:
    """Measure one way; Ray reads its settings when it is imported, and each way has its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "measured.json"
        command = [sys.executable, "-W", "ignore", __file__, "--only", name, "--out", str(out)]
        command += ["--seconds", str(options.seconds), "--rounds", str(options.rounds)]
        subprocess.run(command, check=True)
        return Measured(**json.loads(out.read_text()))


def _show(found: dict[str, Measured]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "requests/s at 32", "best", "p50 ms of one", "best", "CPU ms per request"):
        table.add_column(column)
    for name, measured in found.items():
        cpu = ", ".join(
            f"{part} {statistics.median(times):.2f}" for part, times in measured.cpu_ms.items()
        )
        table.add_row(
            name,
            f"{statistics.median(measured.rates):.0f}",
            f"{max(measured.rates):.0f}",
            f"{statistics.median(measured.p50s_ms):.2f}",
            f"{min(measured.p50s_ms):.2f}",
            cpu,
        )
    console.print(table)
    for other in found.keys() - {"gateway"} if "gateway" in found else ():
        ours, theirs = found["gateway"], found[other]
        rate = statistics.median(ours.rates) / statistics.median(theirs.rates)
        time_ = statistics.median(ours.p50s_ms) / statistics.median(theirs.p50s_ms)
        console.print(f"gateway over {other}: {rate:.2f} x the requests, {time_:.2f} x the time")


def _measure(way: Callable[[], Any], options: argparse.Namespace) -> Measured:
    """Measure one way of serving, in a Ray cluster of its own."""
    measured = Measured()
    with way() as connect:
        asyncio.run(_stretch(connect, callers=CALLERS, seconds=1.0))
        for _ in range(options.rounds):
            times = asyncio.run(_stretch(connect, callers=1, seconds=options.seconds))
            measured.p50s_ms.append(statistics.median(times) * 1e3)
            before, began = _cpu(), time.perf_counter()
            times = asyncio.run(_stretch(connect, callers=CALLERS, seconds=options.seconds))
            measured.rates.append(len(times) / (time.perf_counter() - began))
            for part, seconds in _cpu().items():
                spent = (seconds - before.get(part, 0.0)) / len(times) * 1e3
                measured.cpu_ms.setdefault(part, []).append(spent)
    return measured


async def _stretch(
    connect: Callable[[], tuple[grpc.aio.Channel, Any]], *, callers: int, seconds: float
) -> list[float]:
    """Call for some seconds; returns the time of each request."""
    channel, metadata = connect()
    request = messages.DetectActionUnitsRequest(frames=[aligned_frame()]).SerializeToString()
    ends = time.perf_counter() + seconds
    times: list[float] = []
    async with channel:
        call = channel.unary_unary(METHOD)

        async def caller() -> None:
            while (began := time.perf_counter()) < ends:
                answer = await call(request, metadata=metadata)
                times.append(time.perf_counter() - began)
                assert answer

        await asyncio.gather(*(caller() for _ in range(callers)))
    return times


def _cpu() -> dict[str, float]:
    """Return part -> seconds of CPU so far; this process is the client."""
    found = {"client": sum(os.times()[:2])}
    for process in psutil.Process().children(recursive=True):
        title = " ".join(process.cmdline())
        for part, mark in PARTS.items():
            if mark in title:
                times = process.cpu_times()
                found[part] = found.get(part, 0.0) + times.user + times.system
    return found


def _analyzer() -> Any:
    """Return the analyzer of the trivial package, set as `aufleet serve` sets it."""
    import ray.cloudpickle
    from ray import serve

    from aufleet.serving.workers import LanedAnalyzer

    ray.cloudpickle.register_pickle_by_value(trivial)
    deployment = serve.deployment(
        LanedAnalyzer,
        name="Analyzer",
        max_ongoing_requests=1024,
        max_queued_requests=1024,
        user_config={"package_uri": "trivial"},
        ray_actor_options={"num_cpus": 0},
    )
    return deployment.bind(max_batch=16, max_waiting=256, threads=1, load=trivial.load_trivial)


@contextmanager
def _gateway() -> Iterator[Callable[[], tuple[grpc.aio.Channel, Any]]]:
    """Serve as `aufleet serve` does."""
    use_serve_environment()
    from ray import serve

    from aufleet.cli.ray_session import ray_session
    from aufleet.serving.config import GatewaySettings, ReplicaSettings
    from aufleet.serving.deployments import SERVE_LOGS, aligner_target, gateway_target
    from aufleet.serving.port import check_port
    from aufleet.serving.routing import ServedVersion
    from aufleet.serving.tls import own_certificates
    from aufleet.serving.tokens import ANALYZE, TokenFile

    version = ServedVersion(
        name="trivial", version="1", aliases=("champion",), task="au", package_uri="trivial"
    )
    with tempfile.TemporaryDirectory() as folder, ray_session():
        tls = own_certificates(Path(folder))
        tokens = TokenFile(Path(folder) / "tokens.json")
        token = tokens.create("benchmark", scopes=[ANALYZE], expires_days=1)
        settings = GatewaySettings(
            token_file=Path(folder) / "tokens.json",
            certificate_file=tls.certificate_file,
            key_file=tls.key_file,
            port=check_port("127.0.0.1", port=0),
            access_log=Path(folder) / "access.log",
        )
        serve.start(
            proxy_location="Disabled",
            http_options={"location": "NoServer"},
            logging_config=SERVE_LOGS,
        )
        serve.run(
            _analyzer(), name=version.own_application, route_prefix=None, logging_config=SERVE_LOGS
        )
        targets = [
            gateway_target(settings, routes=[version.route()], replicas=ReplicaSettings()),
            # Nobody asks it here, but the gateway looks for it.
            aligner_target(settings.limits, replicas=ReplicaSettings()),
        ]
        handle = serve.run_many(targets)[0]
        handle._init(_run_router_in_separate_loop=True)
        handle.await_ready.remote().result(timeout_s=60)
        credentials = grpc.ssl_channel_credentials(tls.ca_file.read_bytes())
        metadata = (("authorization", f"Bearer {token}"),)
        yield lambda: (
            grpc.aio.secure_channel(f"127.0.0.1:{settings.port}", credentials),
            metadata,
        )
        serve.shutdown()


@contextmanager
def _bare() -> Iterator[Callable[[], tuple[grpc.aio.Channel, Any]]]:
    """Serve nothing through a TLS gateway and Ray's handle, with our settings of Serve."""
    use_serve_environment()
    import ray.cloudpickle
    from ray import serve
    from reference import bare_gateway

    from aufleet.cli.ray_session import ray_session
    from aufleet.serving.deployments import SERVE_LOGS
    from aufleet.serving.port import check_port
    from aufleet.serving.tls import own_certificates

    ray.cloudpickle.register_pickle_by_value(bare_gateway)
    port = check_port("127.0.0.1", port=0)
    with tempfile.TemporaryDirectory() as folder, ray_session():
        tls = own_certificates(Path(folder))
        serve.start(
            proxy_location="Disabled",
            http_options={"location": "NoServer"},
            logging_config=SERVE_LOGS,
        )
        settings = {"max_ongoing_requests": 1024, "ray_actor_options": {"num_cpus": 0}}
        idle = serve.deployment(bare_gateway.Idle, name="Idle", **settings).bind()
        serve.run(idle, name="idle", route_prefix=None, logging_config=SERVE_LOGS)
        gateway = serve.deployment(bare_gateway.BareGateway, name="Gateway", **settings).bind(
            tls.certificate_file.read_bytes(), tls.key_file.read_bytes(), port
        )
        handle = serve.run(gateway, name="gateway", route_prefix=None, logging_config=SERVE_LOGS)
        handle._init(_run_router_in_separate_loop=True)
        handle.open.remote().result(timeout_s=60)
        credentials = grpc.ssl_channel_credentials(tls.ca_file.read_bytes())
        yield lambda: (grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials), ())
        serve.shutdown()


@contextmanager
def _least() -> Iterator[Callable[[], tuple[grpc.aio.Channel, Any]]]:
    """Serve with as little as can be, and without Ray."""
    from aufleet.serving.port import check_port
    from aufleet.serving.tls import own_certificates

    port = str(check_port("127.0.0.1", port=0))
    with tempfile.TemporaryDirectory() as folder:
        tls = own_certificates(Path(folder))
        socket = str(Path(folder) / "socket")
        files = [str(tls.certificate_file), str(tls.key_file)]
        with _least_part("analyzer", socket), _least_part("gateway", socket, port, *files):
            credentials = grpc.ssl_channel_credentials(tls.ca_file.read_bytes())
            yield lambda: (grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials), ())


@contextmanager
def _least_part(*arguments: str) -> Iterator[None]:
    """Run one of its processes."""
    program = str(Path(__file__).parent / "reference" / "least_service.py")
    with subprocess.Popen([sys.executable, program, *arguments], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), f"{program} {arguments[0]} does not begin"
            yield
        finally:
            process.kill()


class Front:
    """What Serve's own proxy calls: the analyzer, with an answer of the same kind."""

    def __init__(self, analyzer: Any) -> None:
        self._analyzer = analyzer

    async def DetectActionUnits(
        self, request: messages.DetectActionUnitsRequest
    ) -> messages.DetectActionUnitsResponse:
        """Answer one aligned frame."""
        answers = await self._analyzer.analyze_encoded.remote(
            request.frames[0].aligned, attention=False, timeout_s=30
        )
        return messages.DetectActionUnitsResponse(model=str(len(answers.probabilities)))


@contextmanager
def _proxy() -> Iterator[Callable[[], tuple[grpc.aio.Channel, Any]]]:
    """Serve through Ray's own gRPC proxy, with its defaults."""
    from ray import serve

    from aufleet.cli.ray_session import ray_session
    from aufleet.serving.deployments import SERVE_LOGS
    from aufleet.serving.port import check_port

    port = check_port("127.0.0.1", port=0)
    with ray_session():
        serve.start(
            http_options={"location": "HeadOnly", "port": check_port("127.0.0.1", port=0)},
            grpc_options={
                "port": port,
                "grpc_servicer_functions": [
                    "aufleet.api.v1.face_analysis_service_pb2_grpc."
                    "add_FaceAnalysisServiceServicer_to_server"
                ],
            },
            logging_config=SERVE_LOGS,
        )
        front = serve.deployment(
            Front, max_ongoing_requests=1024, ray_actor_options={"num_cpus": 0}
        )
        serve.run(front.bind(_analyzer()), name="model-plain", logging_config=SERVE_LOGS)
        yield lambda: (grpc.aio.insecure_channel(f"127.0.0.1:{port}"), ())
        serve.shutdown()


WAYS = {"gateway": _gateway, "bare": _bare, "least": _least, "proxy": _proxy}

if __name__ == "__main__":
    sys.exit(main())
