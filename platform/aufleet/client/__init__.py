"""The Python client: grpc and protobuf only, so that it installs anywhere.

sync          `Client`
asynchronous  `AsyncClient`
results       what the calls return: frozen dataclasses with the proto's names
errors        what they raise: one tree, each error with its gRPC `code`
retry         when a call is tried again
pool          several gateways behind one client
connection    TLS, token, keep-alive
streaming, streaming_async, stream_attempts, frames   frames of a video, each answered once
video         reads a video file; loads OpenCV and rich on use
messages      requests and responses, shared by both clients
"""

from aufleet.client.asynchronous import AsyncClient
from aufleet.client.errors import (
    AccessError,
    ClientError,
    RejectedError,
    ServerError,
    UnavailableError,
)
from aufleet.client.results import (
    Box,
    Face,
    FrameResult,
    Model,
    PalsyResult,
    RegionValue,
    SeriesResult,
    UnitScore,
)
from aufleet.client.retry import RetryPolicy
from aufleet.client.sync import Client

__all__ = [
    "AccessError",
    "AsyncClient",
    "Box",
    "Client",
    "ClientError",
    "Face",
    "FrameResult",
    "Model",
    "PalsyResult",
    "RegionValue",
    "RejectedError",
    "RetryPolicy",
    "SeriesResult",
    "ServerError",
    "UnavailableError",
    "UnitScore",
]
