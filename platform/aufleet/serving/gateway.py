"""The deployment that holds the gRPC server; no model code is in it."""

import asyncio
import gc
from collections.abc import Mapping
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection
from ray import serve

from aufleet.api.v1.face_analysis_service_pb2 import DESCRIPTOR as FACE_ANALYSIS
from aufleet.api.v1.face_analysis_service_pb2_grpc import (
    add_FaceAnalysisServiceServicer_to_server,
)
from aufleet.errors import EnvironmentProblem
from aufleet.inference.v2.open_inference_pb2 import DESCRIPTOR as OPEN_INFERENCE
from aufleet.inference.v2.open_inference_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from aufleet.serving.access_log import AccessLog
from aufleet.serving.config import GatewaySettings, Limits, ReplicaSettings
from aufleet.serving.credentials import Certificates
from aufleet.serving.directory import Directory, HealthServicer
from aufleet.serving.face_service import FaceAnalysisService
from aufleet.serving.guard import SCOPES_OF_METHODS, Guard
from aufleet.serving.handover import CONNECTION_AGE_S, hand_over
from aufleet.serving.inference_service import InferenceService
from aufleet.serving.lanes import Lanes, lanes_folder
from aufleet.serving.metrics import Metrics, MetricsPort
from aufleet.serving.pipeline import Pipeline, Replicas
from aufleet.serving.port import join
from aufleet.serving.refused_handshakes import RefusedHandshakes
from aufleet.serving.routing import Route
from aufleet.serving.tokens import Doorkeeper

ALIGNER_APPLICATION, ALIGNER = "aligner", "Aligner"
ANALYZER = "Analyzer"


class Gateway:
    """A gRPC server with TLS and tokens in front of aligner and analyzers.

    Ray Serve's own gRPC port has neither, nor interceptors (ray issue 34103).
    """

    def __init__(self, settings: GatewaySettings, *, replicas: ReplicaSettings) -> None:
        """Keep the settings; the port opens with the first configuration."""
        self._settings, self._replicas = settings, replicas
        self._lanes: Lanes | None = None
        self._health = HealthServicer()
        self._metrics = Metrics(methods=SCOPES_OF_METHODS)
        self._metrics_port = MetricsPort(
            self._metrics, host=settings.metrics_host, ports=settings.metrics_ports
        )
        self._guard: Guard | None = None
        self._directory = Directory(
            self._analyzers, health=self._health, on_change=self._metrics.routed
        )
        self._server: grpc.aio.Server | None = None
        self._log = AccessLog(settings.access_log)
        self._refused: RefusedHandshakes | None = None
        self._port = 0
        self._generation = 0

    async def reconfigure(self, config: Mapping[str, Any]) -> None:
        """Take a routing table; Ray calls this at the start and whenever the table changes.

        Args:
            config: "routes": the fields of each `Route`; "generation": which one this is.

        Raises:
            EnvironmentProblem: The port is taken.
        """
        if self._server is None:
            await self._start()
        self._generation = config["generation"]
        await self._directory.replace(
            Route(**{**route, "aliases": tuple(route["aliases"])}) for route in config["routes"]
        )

    async def await_ready(self) -> int:
        """Return the port once every model of the present table is ready."""
        await self._directory.await_ready()
        return self._port

    async def routes(self) -> tuple[list[Route], int]:
        """Return the present routing table and the generation of the gateways."""
        return list(self._directory.table.routes), self._generation

    async def __del__(self) -> None:
        """Stop as Ray stops the replica: no new calls, time for those in flight."""
        if self._server is not None and self._guard is not None:
            await hand_over(self._settings.host, self._port)
            await self._health.enter_graceful_shutdown()
            grace_s = self._settings.grace_s
            # What gRPC itself ends when the grace is over is CANCELLED, which nobody tries again.
            asyncio.get_running_loop().call_later(max(grace_s - 1, 0), self._guard.end_calls)
            await self._server.stop(grace_s)
        self._directory.close()
        if self._lanes is not None:
            self._lanes.close()
        if self._refused is not None:
            self._refused.close()
        await self._metrics_port.close()
        self._log.close()

    async def _start(self) -> None:
        settings = self._settings
        self._lanes = Lanes(lanes_folder())
        self._guard = Guard(
            Doorkeeper(settings.token_file),
            limits=settings.limits,
            log=self._log,
            metrics=self._metrics,
        )
        server = grpc.aio.server(interceptors=[self._guard], options=_options(settings.limits))
        self._add_services(server)
        self._port = self._open_port(server)
        self._refused = RefusedHandshakes(
            partial(asyncio.get_running_loop().call_soon_threadsafe, self._refuse_handshake)
        )
        await server.start()
        self._metrics_port.open()
        self._server = server
        # What is here now stays: no collection has to look through it again.
        gc.collect()
        gc.freeze()

    def _refuse_handshake(self, reason: str) -> None:
        """Count and log a connection that ended in its handshake."""
        self._metrics.refused_handshake(reason)
        self._log.handshake_refused(reason)

    def _aligners(self) -> Replicas:
        assert self._lanes is not None
        return self._lanes.of(
            ALIGNER_APPLICATION,
            handle=serve.get_deployment_handle(ALIGNER, app_name=ALIGNER_APPLICATION),
            num_replicas=self._replicas.num_aligners,
            full=1,
        )

    def _analyzers(self, application: str) -> Replicas:
        assert self._lanes is not None
        return self._lanes.of(
            application,
            handle=serve.get_deployment_handle(ANALYZER, app_name=application),
            num_replicas=self._replicas.num_analyzers,
            full=self._replicas.max_batch,
        )

    def _open_port(self, server: grpc.aio.Server) -> int:
        """Return the port that the server listens on.

        Raises:
            ConfigError: Certificate or key cannot be used.
            EnvironmentProblem: The port is taken, or the address is not one of this machine.
        """
        settings = self._settings
        certificates = Certificates(
            certificate_file=settings.certificate_file,
            key_file=settings.key_file,
            client_ca_file=settings.client_ca_file,
            on_handshake=self._metrics.shook_hands,
        )
        address = join(settings.host, settings.port)
        try:
            return server.add_secure_port(address, certificates.credentials())
        except RuntimeError:
            raise EnvironmentProblem(
                f"the gateway cannot listen on {address}",
                "the port is taken, or the address is not one of this machine",
            ) from None

    def _add_services(self, server: grpc.aio.Server) -> None:
        limits = self._settings.limits
        pipeline = Pipeline(self._aligners(), limits=limits)
        faces = FaceAnalysisService(self._directory, pipeline=pipeline)
        inference = InferenceService(self._directory, pipeline=pipeline, limits=limits)
        add_FaceAnalysisServiceServicer_to_server(faces, server)
        add_GRPCInferenceServiceServicer_to_server(inference, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        ours = [
            service.full_name
            for file in (FACE_ANALYSIS, OPEN_INFERENCE)
            for service in file.services_by_name.values()
        ]
        reflection.enable_server_reflection(
            [*ours, HEALTH_SERVICE, reflection.SERVICE_NAME], server
        )


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Up to this much the guard refuses by itself, with a sentence and a line in the log.
        ("grpc.max_metadata_size", 8 * limits.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", 8 * limits.max_metadata_bytes),
        # Gateways of one service share their port, so that a new one answers before an old one
        # goes; that nobody else has it was asked before they were started (`port`).
        ("grpc.so_reuseport", 1),
        # Lets a gateway go without losing a call (`handover`), and spreads callers over gateways.
        ("grpc.max_connection_age_ms", round(1000 * CONNECTION_AGE_S)),
        # A caller that has vanished without a word is noticed, and one that asks often is let.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
