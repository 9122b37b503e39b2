"""Which gRPC code each error becomes, and the words that a caller sees.

INVALID_ARGUMENT     a field of the request is wrong
NOT_FOUND            unknown model, version or alias
FAILED_PRECONDITION  the model serves another task
UNAUTHENTICATED      no valid token
PERMISSION_DENIED    a token without the scope
RESOURCE_EXHAUSTED   a queue is full; with google.rpc.RetryInfo
DEADLINE_EXCEEDED    the answer would come too late; the work was dropped
UNAVAILABLE          no replica is ready; trying again helps
INTERNAL             our fault: one sentence and the request id, nothing else
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from aufleet import errors
from aufleet.errors import AufleetError

CODES: Mapping[type[AufleetError], StatusCode] = MappingProxyType(
    {
        AufleetError: StatusCode.INTERNAL,
        errors.FrameError: StatusCode.INVALID_ARGUMENT,
        errors.FaceError: StatusCode.INVALID_ARGUMENT,
        errors.StoreUnavailableError: StatusCode.UNAVAILABLE,
        errors.ModelNotFoundError: StatusCode.NOT_FOUND,
        errors.RequestError: StatusCode.INVALID_ARGUMENT,
        errors.WrongTaskError: StatusCode.FAILED_PRECONDITION,
        errors.UnauthenticatedError: StatusCode.UNAUTHENTICATED,
        errors.ForbiddenError: StatusCode.PERMISSION_DENIED,
        errors.OverloadedError: StatusCode.RESOURCE_EXHAUSTED,
        errors.DeadlineError: StatusCode.DEADLINE_EXCEEDED,
        errors.NotReadyError: StatusCode.UNAVAILABLE,
    }
)
"""A class that is not named has its nearest ancestor's code."""

RETRY_DELAY_MS = 200
"""What a caller is told to wait when a queue is full."""
DETAILS_KEY = "grpc-status-details-bin"
RETRY_KEY = "retry-delay-ms"

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a call ends that has no answer."""

    code: StatusCode
    """The gRPC code."""
    message: str
    """One sentence."""
    metadata: Metadata = ()
    """Goes into the trailing metadata."""


def failure_of(error: Exception, *, request_id: str) -> Failure:
    """Return how a call ends after an error.

    Whatever is our own fault keeps its words to itself: they may name files or hosts.
    """
    code = code_of(error)
    if code is StatusCode.INTERNAL:
        return Failure(code=code, message=f"internal error, request id {request_id}")
    message = str(error)
    if code is StatusCode.RESOURCE_EXHAUSTED:
        return Failure(code=code, message=message, metadata=_retry_metadata(message))
    return Failure(code=code, message=message)


def code_of(error: Exception) -> StatusCode:
    """Return the code of an error's class or of its nearest named ancestor."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return StatusCode.INTERNAL


def _retry_metadata(message: str) -> Metadata:
    """Return google.rpc.RetryInfo, and the same delay in plain digits."""
    delay = Duration()
    delay.FromMilliseconds(RETRY_DELAY_MS)
    detail = Any()
    detail.Pack(RetryInfo(retry_delay=delay))
    number: int = StatusCode.RESOURCE_EXHAUSTED.value[0]
    status = Status(code=number, message=message, details=[detail])
    return ((DETAILS_KEY, status.SerializeToString()), (RETRY_KEY, str(RETRY_DELAY_MS)))
