"""Clients that behave badly: slow readers, idle connections, streams that vanish.

    .venv/bin/python tests/chaos/serve_clients.py --count 6

In turn: 50 streams whose answers nobody reads, 1,000 idle connections, 50 streams whose client
process is killed in the middle. Promise: everybody else is answered, none is lost, and their
median latency at most doubles (plus 20 ms); afterwards the gateway holds no stream of theirs.
"""

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from kit.load import Tally, Target, aligned_frame, call_until, detect
from kit.services import Chaos, small_service

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.api.v1.face_analysis_service_pb2_grpc import FaceAnalysisServiceStub

CALLERS, SECONDS = 2, 5.0
NUM_STREAMS, NUM_IDLE = 50, 1_000
FRAMES = 200
PATIENCE_S = 120.0


def main() -> int:
    """Run the rounds."""
    if sys.argv[1:2] == ["--as-client"]:
        asyncio.run(_stream_for_ever(Target.of(Path(sys.argv[2]))))
        return 0
    options = parse(__doc__ or "", count=6)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    kinds = {"slow readers": _slow_readers, "idle": _idle, "vanishing": _vanishing}
    with small_service(options.work, "--metrics-port", "0") as chaos:

        def one(number: int) -> Outcome:
            kind = list(kinds)[number % len(kinds)]
            return asyncio.run(_round(chaos, kind, kinds[kind]))

        return run_rounds(one, count=options.count, work=options.work)


async def _round(chaos: Chaos, kind: str, misbehave: Callable) -> Outcome:
    target = Target.of(chaos.service.ready_file)
    alone = await _load(target)
    async with misbehave(chaos, target) as told:
        beside = await _load(target)
    after = await _load(target)
    wrong = []
    if "LOST" in told:
        wrong.append("calls were lost")
    for name, tally in (("beside", beside), ("after", after)):
        if tally.lost:
            wrong.append(f"{len(tally.lost)} lost {name}: {tally.lost[0]}")
    if beside.percentile(50) > 2 * alone.percentile(50) + 20:
        wrong.append("the others were slowed down")
    times = "/".join(f"{tally.percentile(50):.0f}" for tally in (alone, beside, after))
    return Outcome(
        ok=not wrong,
        kind=kind,
        said="; ".join([*wrong, f"{told}; p50 alone/beside/after {times} ms; {beside}"]),
    )


async def _load(target: Target) -> Tally:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(SECONDS, stop.set)
    return await call_until(stop, target, detect(aligned_frame()), callers=CALLERS)


@asynccontextmanager
async def _slow_readers(chaos: Chaos, target: Target) -> AsyncIterator[str]:
    """Send many frames on many streams and read no answer."""
    async with target.channel() as channel:
        stub = FaceAnalysisServiceStub(channel)
        calls = [stub.AnalyzeStream() for _ in range(NUM_STREAMS)]
        senders = [asyncio.create_task(_send_frames(call)) for call in calls]
        try:
            # The first frames of each are work like any other; what counts is what comes then.
            first = await _load(target)
            await _settle(chaos)
            lost = f", {len(first.lost)} LOST" if first.lost else ""
            said = f"p50 {first.percentile(50):.0f} ms while their first frames were answered{lost}"
            yield f"{NUM_STREAMS} streams are not read, {said}"
        finally:
            for one in (*senders, *calls):
                one.cancel()
            await asyncio.gather(*senders, return_exceptions=True)


async def _settle(chaos: Chaos) -> None:
    """Wait until the gateway answers no more frames."""
    before, deadline = -1.0, time.monotonic() + PATIENCE_S
    while (now := await asyncio.to_thread(_frames_answered, chaos)) != before:
        assert time.monotonic() < deadline, "frames are still answered"
        before = now
        await asyncio.sleep(2)


def _frames_answered(chaos: Chaos) -> float:
    with urlopen(f"http://{chaos.service.ready['metrics']}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    marks = 'aufleet_stage_seconds_count{stage="network"} '
    return sum(float(line.removeprefix(marks)) for line in lines if line.startswith(marks))


@asynccontextmanager
async def _idle(chaos: Chaos, target: Target) -> AsyncIterator[str]:
    """Open many connections, make one call on each tenth, and leave them."""
    channels = [target.channel() for _ in range(NUM_IDLE)]
    try:
        for start in range(0, NUM_IDLE, 50):
            await asyncio.gather(
                *(
                    asyncio.wait_for(channel.channel_ready(), 60)
                    for channel in channels[start : start + 50]
                )
            )
        yield f"{NUM_IDLE} connections are open"
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


@asynccontextmanager
async def _vanishing(chaos: Chaos, target: Target) -> AsyncIterator[str]:
    """Kill a process in the middle of its streams."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--as-client", str(chaos.service.ready_file)]
    )
    try:
        await asyncio.sleep(6)
        is_there = process.poll() is None
    finally:
        process.kill()
        process.wait()
    yield f"a client of {NUM_STREAMS} streams was killed" if is_there else "no client was there"


async def _stream_for_ever(target: Target) -> None:
    """Be a client of many streams."""
    async with target.channel() as channel:
        stub = FaceAnalysisServiceStub(channel)

        async def one() -> None:
            call = stub.AnalyzeStream()
            sender = asyncio.create_task(_send_frames(call))
            async for _answer in call:
                pass
            await sender

        await asyncio.gather(*(one() for _ in range(NUM_STREAMS)), return_exceptions=True)


async def _send_frames(call: object) -> None:
    frame = aligned_frame()
    await call.write(messages.AnalyzeStreamRequest(config=messages.StreamConfig()))
    for _ in range(FRAMES):
        await call.write(messages.AnalyzeStreamRequest(frame=messages.StreamFrame(frame=frame)))


if __name__ == "__main__":
    sys.exit(main())
