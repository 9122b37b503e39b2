"""When a call is tried again: the same request id each time, so that the server can tell."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from aufleet.client.errors import is_too_large, is_untrusted

RETRIED = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_DETAILS_KEY = "grpc-status-details-bin"
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
# Fields of google.rpc.Status and RetryInfo, whose package is no dependency of the client.
_STATUS_DETAILS, _RETRY_DELAY = 3, 1


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Jittered exponential back-off.

    Attributes:
        total_s: A request that has no answer after this time is given up.
        first_pause_s: Longest pause before the second attempt; it doubles with each attempt.
        longest_pause_s: No pause is longer, unless the server asks for it.
    """

    total_s: float = 60.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 5.0

    def pauses(self) -> Iterator[float]:
        """Yield the pause before each further attempt, for ever."""
        limit = self.first_pause_s
        while True:
            yield random.uniform(limit / 2, limit)
            limit = min(2 * limit, self.longest_pause_s)


NO_RETRY = RetryPolicy(total_s=0.0)


def is_retried(error: grpc.RpcError) -> bool:
    """Return whether trying again may help."""
    if is_untrusted(error) or is_too_large(error):
        return False
    return error.code() in RETRIED  # type: ignore[attr-defined] - every call's error has it


def asked_pause_s(error: grpc.RpcError) -> float:
    """Return how long to wait where the server says so in google.rpc.RetryInfo, else 0.

    Somewhat longer than it asks, by chance: whom it refused together must not return together.
    """
    for key, value in error.trailing_metadata() or ():  # type: ignore[attr-defined]
        if key == _DETAILS_KEY:
            return _retry_delay_s(value) * random.uniform(1.0, 1.5)
    return 0.0


def _retry_delay_s(status: bytes) -> float:
    try:
        for detail in map(AnyMessage.FromString, _fields(status, number=_STATUS_DETAILS)):
            if detail.type_url == _RETRY_INFO:
                for delay in _fields(detail.value, number=_RETRY_DELAY):
                    return max(0.0, Duration.FromString(delay).ToTimedelta().total_seconds())
    except DecodeError:
        # Somebody else's details: the back-off alone decides.
        pass
    return 0.0


def _fields(message: bytes, *, number: int) -> list[bytes]:
    """Return the length-delimited fields of a message whose class is not at hand."""
    fields = UnknownFieldSet(Empty.FromString(message))
    return [field.data for field in fields if field.field_number == number]
