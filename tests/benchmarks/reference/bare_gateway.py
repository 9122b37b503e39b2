"""The least that a TLS gateway over Ray's handle can be: bytes in, a call, bytes out."""

from typing import Any

import grpc
from ray import serve

SERVICE, METHOD = "aufleet.api.v1.FaceAnalysisService", "DetectActionUnits"
ANSWER = b"x" * 300


class Idle:
    """A replica that does nothing."""

    async def answer(self, request: bytes) -> bytes:
        """Return something as long as an answer."""
        return ANSWER


class BareGateway:
    """A gRPC server that neither reads a request nor checks a token."""

    def __init__(self, certificate: bytes, key: bytes, port: int) -> None:
        self._credentials = grpc.ssl_server_credentials([(key, certificate)])
        self._port = port
        self._server: grpc.aio.Server | None = None

    async def open(self) -> None:
        """Listen."""
        handle = serve.get_deployment_handle("Idle", app_name="idle")

        async def forward(request: bytes, context: Any) -> bytes:
            return await handle.answer.remote(request)

        method = grpc.unary_unary_rpc_method_handler(forward)
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})]
        )
        self._server.add_secure_port(f"127.0.0.1:{self._port}", self._credentials)
        await self._server.start()
