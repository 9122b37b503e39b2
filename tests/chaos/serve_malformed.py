"""Malformed requests to a running service; Hypothesis draws them.

    .venv/bin/python tests/chaos/serve_malformed.py --count 20

A round is 500 requests: random bytes, truncated and changed messages, wrong shapes and types in
every field of the Open Inference Protocol, pictures that are bombs, and streams that are cancelled
or half closed. Promise: each ends with a code that says whose fault it is, never INTERNAL or
UNKNOWN, and no stack trace; memory of every process stays flat; a right request is answered after
each round.
"""

import asyncio
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisWarning

from aufleet.api.v1 import face_analysis_service_pb2 as messages

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from kit.load import Target, aligned_frame, portrait
from kit.malformed import STREAM, wire
from kit.services import MODEL, Chaos, small_service

REQUESTS = 500
AT_ONCE = 8
STREAMS = 20
ROUNDS_TO_WARM_UP = 2
MAX_GROWTH_MIB = 40.0
RIGHT = frozenset(
    "OK INVALID_ARGUMENT NOT_FOUND FAILED_PRECONDITION RESOURCE_EXHAUSTED UNIMPLEMENTED".split()
)


@dataclass
class Seen:
    """What came back."""

    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def take(self, code: str, details: str, *, allowed: frozenset[str] = RIGHT) -> None:
        """Judge one answer."""
        self.codes[code] += 1
        if code not in allowed:
            self.wrong.append(f"{code}: {details[:200]}")
        if "Traceback" in details or "\n" in details or 'File "' in details:
            self.wrong.append(f"a trace: {details[:200]}")


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=20)
    good = [portrait().encoded, aligned_frame().aligned]
    before: dict[str, float] = {}
    with small_service(options.work) as chaos:
        chaos.await_parts({"releases": 1})
        served = 0

        def one(number: int) -> Outcome:
            nonlocal served, before
            seen = Seen()
            asyncio.run(_send(_draw(good, number=number + options.seed), chaos, seen))
            served += 1
            if served == ROUNDS_TO_WARM_UP:
                before = chaos.memory_mib()
            growth = _growth(chaos, before) if served > ROUNDS_TO_WARM_UP else 0.0
            if growth > MAX_GROWTH_MIB:
                seen.wrong.append(f"memory grew by {growth:.0f} MiB")
            chaos.service.detect(aligned_frame(), model=MODEL)
            told = f"{dict(seen.codes.most_common())}, growth {growth:+.0f} MiB"
            return Outcome(
                ok=not seen.wrong,
                kind=f"{REQUESTS} requests",
                said="; ".join([*seen.wrong[:3], told]),
            )

        return run_rounds(one, count=options.count, work=options.work)


def _draw(good: list[bytes], *, number: int) -> list[tuple[str, bytes]]:
    """Return a round's requests, the same for the same number."""
    drawn: list[tuple[str, bytes]] = []

    @seed(number)
    @settings(
        max_examples=REQUESTS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(wire(good))
    def draw(request: tuple[str, bytes]) -> None:
        drawn.append(request)

    with warnings.catch_warnings():
        # It would like to describe two megabytes of zeros.
        warnings.simplefilter("ignore", HypothesisWarning)
        draw()
    return drawn


async def _send(requests: list[tuple[str, bytes]], chaos: Chaos, seen: Seen) -> None:
    target = Target.of(chaos.service.ready_file)
    turns = asyncio.Semaphore(AT_ONCE)
    async with target.channel() as channel:

        async def send(method: str, message: bytes) -> None:
            async with turns:
                call = channel.unary_unary(method)(message, timeout=30)
                try:
                    await call
                    seen.take("OK", "")
                except grpc.RpcError as error:
                    seen.take(error.code().name, error.details() or "")

        await asyncio.gather(*(send(*request) for request in requests))
        await asyncio.gather(
            *(_stream(channel, requests[index], index, seen) for index in range(STREAMS))
        )


async def _stream(
    channel: grpc.aio.Channel, request: tuple[str, bytes], index: int, seen: Seen
) -> None:
    """Open a stream, send something wrong, then cancel it, half close it, or leave it."""
    # What began soundly and is left open is right to wait for more, until its own deadline.
    waits = index % 3 == 2 and _begins_soundly(request[1])
    call = channel.stream_stream(STREAM)(timeout=5 if waits else 20)
    allowed = RIGHT | {"CANCELLED"} | ({"DEADLINE_EXCEEDED"} if waits else set())
    try:
        await call.write(request[1])
        if index % 3 == 0:
            call.cancel()
        elif index % 3 == 1:
            await call.done_writing()
        async for _answer in call:
            pass
        seen.take((await call.code()).name, await call.details() or "", allowed=allowed)
    except asyncio.CancelledError:
        seen.take("CANCELLED", "", allowed=allowed)
    except grpc.RpcError as error:
        seen.take(error.code().name, error.details() or "", allowed=allowed)


def _begins_soundly(message: bytes) -> bool:
    """Return whether a stream's first message configures it."""
    try:
        first = messages.AnalyzeStreamRequest.FromString(message)
    except DecodeError:
        return False
    return first.WhichOneof("message") == "config"


def _growth(chaos: Chaos, before: dict[str, float]) -> float:
    """Return by how many MiB the part grew that grew most."""
    now = chaos.memory_mib()
    return max(now[part] - size for part, size in before.items())


if __name__ == "__main__":
    sys.exit(main())
