"""When a call is tried again: the same request id each time, so that the server can tell."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import grpc

RETRIED = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
RETRY_DELAY_KEY = "retry-delay-ms"
"""Trailing metadata in which the server says how long to wait."""


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
    return error.code() in RETRIED  # type: ignore[attr-defined] - every call's error has it


def asked_pause_s(error: grpc.RpcError) -> float:
    """Return how long the server asks to wait, 0 where it does not say."""
    for key, value in error.trailing_metadata() or ():  # type: ignore[attr-defined]
        if key == RETRY_DELAY_KEY and str(value).isdecimal():
            return int(value) / 1000
    return 0.0
