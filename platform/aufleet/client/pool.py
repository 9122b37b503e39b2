"""Several gateways behind one client: who is asked next, and who rests after a failure."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc

from aufleet.client.retry import asked_pause_s
from aufleet.errors import ConfigError

FIRST_REST_S, LONGEST_REST_S = 1.0, 30.0
"""A gateway that could not be reached is asked again after this time; doubled each time."""

Stub = TypeVar("Stub")


def split_targets(target: str) -> list[str]:
    """Return the gateways that a target names.

    Args:
        target: "host:port", or several of them with commas between.

    Raises:
        ConfigError: One is not "host:port".
    """
    targets = [each.strip() for each in target.split(",")]
    for each in targets:
        if not each.rpartition(":")[0] or not each.rpartition(":")[2].isdigit():
            raise ConfigError(
                f"the target {each!r} is no gateway", 'name "host:port", several with commas'
            )
    return list(dict.fromkeys(targets))


@dataclass(kw_only=True, eq=False)
class Gateway(Generic[Stub]):
    """One of the gateways."""

    target: str
    stub: Stub
    rests_until_s: float = 0.0
    rest_s: float = FIRST_REST_S


class Pool(Generic[Stub]):
    """Takes turns between the gateways that can be reached; safe to share between threads."""

    def __init__(
        self,
        stubs: Sequence[tuple[str, Stub]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with every gateway in turn.

        Args:
            stubs: Target and stub of each.
            clock: In seconds.
        """
        self._gateways = [Gateway(target=target, stub=stub) for target, stub in stubs]
        self._turns, self._clock, self._lock = itertools.count(), clock, threading.Lock()

    def __len__(self) -> int:
        """Return how many gateways there are."""
        return len(self._gateways)

    def next(self) -> Gateway[Stub]:
        """Return the gateway to ask: in turn, or the one that has rested longest."""
        with self._lock:
            turn, now = next(self._turns), self._clock()
            in_turn = [
                self._gateways[(turn + k) % len(self._gateways)] for k in range(len(self._gateways))
            ]
            for gateway in in_turn:
                if gateway.rests_until_s <= now:
                    return gateway
            return min(in_turn, key=lambda gateway: gateway.rests_until_s)

    def pause_after(self, error: grpc.RpcError, gateway: Gateway[Stub], *, pause_s: float) -> float:
        """Return how long to wait before the next attempt: not at all where another gateway waits.

        Args:
            error: Of this attempt.
            gateway: That was asked.
            pause_s: What the policy would wait.
        """
        is_away = error.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
        if is_away and self._set_aside(gateway):
            return 0.0
        return max(pause_s, asked_pause_s(error))

    def _set_aside(self, gateway: Gateway[Stub]) -> bool:
        """Let a gateway rest that could not be reached; return whether another one does not."""
        with self._lock:
            now = self._clock()
            gateway.rests_until_s = now + gateway.rest_s
            gateway.rest_s = min(2 * gateway.rest_s, LONGEST_REST_S)
            return any(other.rests_until_s <= now for other in self._gateways)

    def answered(self, gateway: Gateway[Stub]) -> None:
        """Remember that a gateway is there."""
        gateway.rests_until_s, gateway.rest_s = 0.0, FIRST_REST_S
