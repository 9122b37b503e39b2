"""SIGKILL of one process of a service while streams run, and gateways that are started anew.

    .venv/bin/python tests/chaos/serve_streams.py --count 20

Promise: both clients get the answer of each frame exactly once, in order, and as an undisturbed
stream gets it, smoothed or not.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from functools import partial

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
import cv2
import numpy as np
import skimage.data
from kit.load import Target
from kit.services import Chaos, small_service

from aufleet.client import AsyncClient, Client, ClientError, FrameResult

NUM_FRAMES, RATE_HZ = 120, 20.0
SMOOTHING_S = 0.3
KILL_AFTER_S = 1.5
MAX_DIFFERENCE = 1e-3
"""Of probabilities: batches of other sizes round differently, and smoothing forgets 0.005 %."""
WAYS = ("analyzer", "aligner", "gateway", "gateways anew")


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=20)
    frames = pictures()
    with small_service(options.work, "--analyzers", "2", "--gateways", "2") as chaos:
        counts = {"analyzer": 2, "aligner": 1, "gateway": 2}
        chaos.await_parts(counts)
        expected = {
            smoothed: results_of("blocking", Target.of(chaos.service.ready_file), frames, smoothed)
            for smoothed in (False, True)
        }

        def one(number: int) -> Outcome:
            way = WAYS[number % len(WAYS)]
            kind = ("blocking", "asyncio")[number // len(WAYS) % 2]
            smoothed = bool(number // (2 * len(WAYS)) % 2)
            run = partial(results_of, kind, Target.of(chaos.service.ready_file), frames, smoothed)
            found, said = asyncio.run(disturb(chaos, way, run=run, which=number, counts=counts))
            wrong = found if isinstance(found, str) else compare(found, expected[smoothed])
            words = f"{kind}, {'smoothed' if smoothed else 'plain'}; {said}"
            return Outcome(ok=not wrong, kind=way, said=f"{wrong or 'as undisturbed'}; {words}")

        return run_rounds(one, count=options.count, work=options.work)


async def disturb(
    chaos: Chaos, way: str, *, run: partial, which: int, counts: dict[str, int]
) -> tuple[list[FrameResult] | str, str]:
    """Return what a disturbed stream gave, or its error, and how long all took."""
    began = time.monotonic()
    stream = asyncio.create_task(asyncio.to_thread(run))
    await asyncio.sleep(KILL_AFTER_S)
    if way == "gateways anew":
        await asyncio.to_thread(chaos.replace_gateway)
    else:
        gone = await asyncio.to_thread(chaos.kill, way, which=which)
        await asyncio.to_thread(chaos.await_parts, counts, gone=gone)
    back_s = time.monotonic() - began - KILL_AFTER_S
    try:
        found: list[FrameResult] | str = await stream
    except ClientError as error:
        found = f"lost: {error.code} {error}"
    return found, f"back after {back_s:.1f} s, stream of {time.monotonic() - began:.1f} s"


def results_of(kind: str, target: Target, frames: list[bytes], smoothed: bool) -> list[FrameResult]:
    """Return the results of a whole stream through one of the clients."""
    smoothing_s = SMOOTHING_S if smoothed else 0.0
    place = {"token": target.token, "root_certificates": target.roots}
    if kind == "blocking":
        with Client(target.address, **place) as client:
            return list(client.analyze_stream(camera(frames), smoothing_time_s=smoothing_s))

    async def run() -> list[FrameResult]:
        async with AsyncClient(target.address, **place) as client:
            stream = client.analyze_stream(camera(frames), smoothing_time_s=smoothing_s)
            return [result async for result in stream]

    return asyncio.run(run())


def camera(frames: list[bytes]) -> Iterator[tuple[float, bytes]]:
    """Yield frames as a camera does."""
    for number, frame in enumerate(frames):
        time.sleep(1 / RATE_HZ)
        yield number / RATE_HZ, frame


def pictures() -> list[bytes]:
    """Return frames that are told apart by their answers; some hold no face."""
    portrait = cv2.resize(
        skimage.data.astronaut()[..., ::-1], (320, 320), interpolation=cv2.INTER_AREA
    )
    found = []
    for number in range(NUM_FRAMES):
        light = 0.6 + 0.4 * np.sin(number / 5)
        frame = np.clip(portrait * light, 0, 255).astype(np.uint8)
        if number % 17 == 3:
            frame = np.full_like(frame, 90)
        found.append(cv2.imencode(".jpg", frame)[1].tobytes())
    return found


def compare(found: list[FrameResult], expected: list[FrameResult]) -> str:
    """Return what is wrong; empty where every frame has its answer."""
    times = [result.time_s for result in found]
    if times != [result.time_s for result in expected]:
        return f"{len(set(times))} different frames of {len(expected)}, {len(found)} answers"
    for one, other in zip(found, expected, strict=True):
        if one.status != other.status:
            return f"{one.status} instead of {other.status} at {one.time_s} s"
        numbers = [
            [score.probability for face in result.faces for score in face.units]
            for result in (one, other)
        ]
        difference = np.abs(np.subtract(*numbers)).max(initial=0.0)
        if difference > MAX_DIFFERENCE:
            return f"another answer at {one.time_s} s, by {difference:.4f}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
