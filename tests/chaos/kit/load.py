"""Load on a running service: many callers at once, as the client's policy has it.

    .venv/bin/python tests/chaos/kit/load.py --serve-file .aufleet/serve.json --seconds 30

Prints requests per second, latency percentiles, the codes of every attempt and the requests that
were lost: those without a final answer after the client's default policy.
"""

import argparse
import asyncio
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.api.v1 import face_pb2
from aufleet.api.v1.face_analysis_service_pb2_grpc import FaceAnalysisServiceStub
from aufleet.client.connection import OPTIONS, REQUEST_ID_KEY, credentials, new_request_id
from aufleet.client.retry import RetryPolicy, asked_pause_s, is_retried

PERCENTILES = (50, 90, 99, 100)


@dataclass(kw_only=True)
class Tally:
    """What callers saw.

    Attributes:
        seconds: How long they called.
        latencies_ms: Of each answered request, all its attempts and pauses together.
        codes: Of each attempt.
        lost: Requests without an answer, and the code of their last attempt.
        versions: Which version answered how often.
        moments: When each answer came (time.monotonic) and which version gave it.
    """

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    moments: list[tuple[float, str]] = field(default_factory=list)

    @property
    def num_answered(self) -> int:
        """Requests with an answer."""
        return len(self.latencies_ms)

    @property
    def num_failed_attempts(self) -> int:
        """Attempts that ended otherwise than OK."""
        return sum(self.codes.values()) - self.codes["OK"]

    @property
    def longest_gap_s(self) -> float:
        """The longest time in which nobody got an answer."""
        times = sorted(moment for moment, _ in self.moments)
        return max((after - before for before, after in itertools.pairwise(times)), default=0.0)

    def __add__(self, other: "Tally") -> "Tally":
        """Return what both saw together."""
        return Tally(
            seconds=max(self.seconds, other.seconds),
            latencies_ms=self.latencies_ms + other.latencies_ms,
            codes=self.codes + other.codes,
            lost=self.lost + other.lost,
            versions=self.versions + other.versions,
            moments=self.moments + other.moments,
        )

    def percentile(self, percent: float) -> float:
        """Return a percentile of the latencies in ms."""
        return float(np.percentile(self.latencies_ms, percent)) if self.latencies_ms else np.nan

    def __str__(self) -> str:
        """Return one line."""
        times = "/".join(f"{self.percentile(each):.0f}" for each in PERCENTILES)
        codes = ", ".join(f"{count} {code}" for code, count in self.codes.most_common())
        return (
            f"{self.num_answered / max(self.seconds, 1e-9):.0f} requests/s, "
            f"p50/p90/p99/max {times} ms, attempts: {codes or 'none'}, {len(self.lost)} lost"
        )


Ask = Callable[[FaceAnalysisServiceStub, str], Awaitable[str]]
"""Makes one attempt under a request id; returns the version that answered."""


@dataclass(kw_only=True, frozen=True)
class Target:
    """A service and how one gets in."""

    address: str
    token: str
    roots: bytes

    @classmethod
    def of(cls, serve_file: Path) -> "Target":
        """Read what `aufleet serve --ready-file` wrote."""
        ready = json.loads(serve_file.read_text())
        return cls(
            address=ready["target"],
            token=Path(ready["token_file"]).read_text().strip(),
            roots=Path(ready["ca_file"]).read_bytes(),
        )

    def channel(self) -> grpc.aio.Channel:
        """Return a new connection; channels of the same options would share one otherwise."""
        own = ("grpc.use_local_subchannel_pool", 1)
        return grpc.aio.secure_channel(
            self.address, credentials(self.token, self.roots), options=[*OPTIONS, own]
        )


def detect(
    frame: face_pb2.Frame, *, model: str = "", version: str = "", timeout_s: float = 30
) -> Ask:
    """Return what asks for action units."""
    request = messages.DetectActionUnitsRequest(frames=[frame], model=model, version=version)

    async def ask(stub: FaceAnalysisServiceStub, request_id: str) -> str:
        answer = await stub.DetectActionUnits(
            request, timeout=timeout_s, metadata=[(REQUEST_ID_KEY, request_id)]
        )
        assert answer.request_id == request_id, "another request's answer"
        assert len(answer.frames) == 1, "not every frame has an answer"
        return answer.version

    return ask


async def call_until(
    stop: asyncio.Event, target: Target, ask: Ask, *, callers: int, channels: int = 2
) -> Tally:
    """Call with so many callers, each one request after the other, until `stop` is set."""
    tally, policy = Tally(), RetryPolicy()
    opened = [target.channel() for _ in range(min(channels, callers))]
    began = time.monotonic()

    async def caller(number: int) -> None:
        stub = FaceAnalysisServiceStub(opened[number % len(opened)])
        while not stop.is_set():
            await _request(stub, ask, tally=tally, policy=policy)

    try:
        await asyncio.gather(*(caller(number) for number in range(callers)))
    finally:
        tally.seconds = time.monotonic() - began
        await asyncio.gather(*(channel.close() for channel in opened))
    return tally


async def _request(
    stub: FaceAnalysisServiceStub, ask: Ask, *, tally: Tally, policy: RetryPolicy
) -> None:
    """Make one request as the client does, and count what becomes of it."""
    request_id, began = new_request_id(), time.monotonic()
    for pause_s in policy.pauses():
        try:
            version = await ask(stub, request_id)
        except grpc.RpcError as error:
            tally.codes[error.code().name] += 1
            pause_s = max(pause_s, asked_pause_s(error))
            if not is_retried(error) or time.monotonic() - began + pause_s > policy.total_s:
                tally.lost.append(f"{error.code().name}: {error.details()}")
                return
        else:
            now = time.monotonic()
            tally.codes["OK"] += 1
            tally.versions[version] += 1
            tally.latencies_ms.append((now - began) * 1e3)
            tally.moments.append((now, version))
            return
        await asyncio.sleep(pause_s)


async def call_while(
    work: Callable[[], object], target: Target, ask: Ask, *, callers: int
) -> Tally:
    """Call while blocking work runs in a thread."""
    stop = asyncio.Event()
    load = asyncio.create_task(call_until(stop, target, ask, callers=callers))
    try:
        await asyncio.to_thread(work)
    finally:
        stop.set()
        tally = await load
    return tally


def aligned_frame() -> face_pb2.Frame:
    """Return a small aligned frame, the same one always."""
    import cv2

    pixels = np.random.default_rng(0).integers(80, 90, (200, 200, 3), np.uint8)
    return face_pb2.Frame(aligned=cv2.imencode(".jpg", pixels)[1].tobytes())


def portrait() -> face_pb2.Frame:
    """Return a small photo with a face."""
    import cv2
    import skimage.data

    photo = cv2.cvtColor(skimage.data.astronaut()[:300, 80:380], cv2.COLOR_RGB2BGR)
    return face_pb2.Frame(encoded=cv2.imencode(".jpg", photo)[1].tobytes())


def main() -> int:
    """Load a service for some seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--serve-file", type=Path, default=Path(".aufleet/serve.json"))
    parser.add_argument("--photo", type=Path, help="a JPEG or PNG; default: an aligned frame")
    parser.add_argument("--model", default="")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    frame = aligned_frame()
    if options.photo:
        frame = face_pb2.Frame(encoded=options.photo.read_bytes())
    random.seed(0)
    tally = Tally()
    with suppress(KeyboardInterrupt):
        tally = asyncio.run(
            call_while(
                lambda: time.sleep(options.seconds),
                Target.of(options.serve_file),
                detect(frame, model=options.model),
                callers=options.callers,
            )
        )
    print(tally)
    for reason, count in Counter(tally.lost).most_common(5):
        print(f"lost {count}: {reason}")
    return 1 if tally.lost else 0


if __name__ == "__main__":
    sys.exit(main())
