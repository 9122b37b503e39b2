"""TLS, token and keep-alive of a channel; there is no way to connect without TLS."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc

from aufleet.api.v1 import face_analysis_service_pb2_grpc as rpc
from aufleet.client.pool import Pool, split_targets
from aufleet.errors import ConfigError

MAX_MESSAGE_BYTES = 128 * 1024 * 1024
"""As a gateway's transport: what is smaller and still too large, it refuses in its own words."""
OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A gateway that vanishes without a word is noticed within 17 s, before a call's time is over;
    # gateways take a ping every 10 s.
    ("grpc.keepalive_time_ms", 12_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Also the longest time that connecting may take.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    # gRPC's own 2 minutes would be longer than our retries last.
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # The retries are ours: gRPC's own would hide how often a request was sent.
    ("grpc.enable_retries", 0),
]
REQUEST_ID_KEY = "x-request-id"

Channel = TypeVar("Channel")


def credentials(
    token: str, root_certificates: bytes | str | Path | None
) -> grpc.ChannelCredentials:
    """Return channel credentials that send the token over TLS only.

    Args:
        token: The caller's token.
        root_certificates: PEM bytes, or the path of a PEM file; None for the system's.

    Raises:
        ConfigError: The token is empty, or the file cannot be read or holds no certificate.
    """
    if not token or token != token.strip():
        raise ConfigError("the token is empty or has spaces", "aufleet token create makes one")
    return grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(_pem(root_certificates)),
        grpc.access_token_call_credentials(token),
    )


def open_pool(
    target: str,
    token: str,
    root_certificates: bytes | str | Path | None,
    *,
    connect: Callable[..., Channel],
) -> tuple[list[Channel], Pool[Any]]:
    """Return a channel and a stub of each gateway that a target names.

    Args:
        target: "host:port", or several with commas between.
        token: The caller's token.
        root_certificates: As `credentials` takes them.
        connect: Opens a channel; gRPC's own or that of grpc.aio.

    Raises:
        ConfigError: Target, token or certificates cannot be used.
    """
    targets, trusted = split_targets(target), credentials(token, root_certificates)
    channels = [connect(each, trusted, options=OPTIONS) for each in targets]
    stubs = [rpc.FaceAnalysisServiceStub(channel) for channel in channels]
    return channels, Pool(list(zip(targets, stubs, strict=True)))


def _pem(root_certificates: bytes | str | Path | None) -> bytes | None:
    if root_certificates is None:
        return None
    name, pem = "root_certificates", root_certificates
    if not isinstance(pem, bytes):
        name = str(root_certificates)
        try:
            pem = Path(pem).read_bytes()
        except OSError as error:
            raise ConfigError(f"{name} cannot be read: {error.strerror}") from error
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise ConfigError(f"{name} holds no certificate", "give PEM, as in the ca_file of a server")
    return pem


def new_request_id() -> str:
    """Return an id under which the server's log knows a request."""
    return uuid.uuid4().hex
