"""What a call raises.

ClientError
├── RejectedError     the request is wrong: INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION ...
├── AccessError       the token is wrong or lacks the scope: UNAUTHENTICATED, PERMISSION_DENIED
├── UnavailableError  no answer in time: UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED
└── ServerError       the server's fault: INTERNAL and everything else
"""

import grpc

from aufleet.errors import AufleetError


class ClientError(AufleetError):
    """A call ended without an answer.

    Args:
        message: One sentence, the server's own where it sent one.
        code: Name of the gRPC code, "NOT_FOUND" for example.
        request_id: Under which the server's log knows the call.
    """

    def __init__(self, message: str, code: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.args = (message, code, request_id)
        self.code, self.request_id = code, request_id


class RejectedError(ClientError):
    """The request is wrong; sending it again does not help."""


class AccessError(ClientError):
    """The token is missing, wrong, or lacks the scope."""


class UnavailableError(ClientError):
    """No answer in time, after the retries that the policy allows."""


class ServerError(ClientError):
    """The server failed."""


_KINDS: dict[str, type[ClientError]] = {
    "INVALID_ARGUMENT": RejectedError,
    "NOT_FOUND": RejectedError,
    "FAILED_PRECONDITION": RejectedError,
    "OUT_OF_RANGE": RejectedError,
    "UNAUTHENTICATED": AccessError,
    "PERMISSION_DENIED": AccessError,
    "UNAVAILABLE": UnavailableError,
    "RESOURCE_EXHAUSTED": UnavailableError,
    "DEADLINE_EXCEEDED": UnavailableError,
}


def translate(error: grpc.RpcError, *, request_id: str) -> ClientError:
    """Return the client's error for gRPC's."""
    code = error.code().name  # type: ignore[attr-defined] - every call's error has it
    details = error.details() or code  # type: ignore[attr-defined]
    if is_untrusted(error):
        details = f"the server's certificate is not trusted, give its root certificates ({details})"
    if is_too_large(error):
        return RejectedError(
            f"the request is too large, send fewer or smaller frames ({details})", code, request_id
        )
    return _KINDS.get(code, ServerError)(details, code, request_id)


def is_too_large(error: grpc.RpcError) -> bool:
    """Return whether the transport refused a message for its size, which no waiting mends."""
    # gRPC has no code of its own for it: it says RESOURCE_EXHAUSTED, as for a full queue.
    return "essage larger than max" in (error.details() or "")  # type: ignore[attr-defined]


def is_untrusted(error: grpc.RpcError) -> bool:
    """Return whether the server's certificate was refused, which no waiting mends."""
    # gRPC has no code of its own for it: it says UNAVAILABLE.
    return "CERTIFICATE_VERIFY_FAILED" in (error.details() or "")  # type: ignore[attr-defined]
