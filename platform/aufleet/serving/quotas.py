"""What each token may use: calls per second, and calls at the same time.

A rate is a bucket: whoever was quiet may catch up one second's worth at once. Each gateway counts
for itself, as each counts its own room.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aufleet.errors import OverloadedError
from aufleet.serving.tokens import TokenRow

FORGET_S = 60.0
"""Tokens that were not used for this long are forgotten: their bucket is full again anyway."""


@dataclass(kw_only=True)
class _Use:
    """What one token uses."""

    level: float
    """Calls that it may make at once."""
    seen_s: float
    num_calls: int = 0


class Quotas:
    """Counts what tokens use; for one event loop."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._uses: dict[str, _Use] = {}
        self._swept_s = clock()

    @contextmanager
    def entered(self, row: TokenRow | None) -> Iterator[None]:
        """Count a call in, or send it away; without a token nothing is counted.

        Raises:
            OverloadedError: The token's rate or its number of calls is used up.
        """
        if row is None or not (row.rate_per_s or row.max_calls):
            yield
            return
        use = self._use_of(row)
        if row.max_calls and use.num_calls >= row.max_calls:
            raise OverloadedError(
                f"token {row.name!r} may make {row.max_calls} calls at the same time",
                "wait for one to end",
            )
        if self._wait_s(row, use) > 0:
            raise OverloadedError(
                f"token {row.name!r} may make {row.rate_per_s:g} calls per second",
                "try again in a moment",
            )
        use.level -= 1
        use.num_calls += 1
        try:
            yield
        finally:
            use.num_calls -= 1

    async def turn(self, row: TokenRow | None) -> None:
        """Wait until the token's rate allows one more frame of a stream."""
        if row is None or not row.rate_per_s:
            return
        use = self._use_of(row)
        while (pause_s := self._wait_s(row, use)) > 0:
            await asyncio.sleep(pause_s)
        use.level -= 1

    def _use_of(self, row: TokenRow) -> _Use:
        now = self._clock()
        if now - self._swept_s > FORGET_S:
            self._swept_s = now
            self._uses = {
                key: use
                for key, use in self._uses.items()
                if use.num_calls or now - use.seen_s < FORGET_S
            }
        use = self._uses.get(row.id)
        if use is None:
            use = self._uses[row.id] = _Use(level=max(row.rate_per_s, 1.0), seen_s=now)
        return use

    def _wait_s(self, row: TokenRow, use: _Use) -> float:
        """Fill the bucket; return how long until it holds one call."""
        now = self._clock()
        if not row.rate_per_s:
            use.level = 1.0
        else:
            filled = use.level + (now - use.seen_s) * row.rate_per_s
            use.level = min(filled, max(row.rate_per_s, 1.0))
        use.seen_s = now
        return 0.0 if use.level >= 1 else (1 - use.level) / row.rate_per_s
