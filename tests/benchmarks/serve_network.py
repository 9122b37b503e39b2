"""What serving adds to a network: .venv/bin/python tests/benchmarks/serve_network.py.

MGRR-Net behind `aufleet serve`, asked for aligned frames over TLS with a token, beside the same
network alone, in turns, with the same batch and threads:

- saturation: images per second of 32 callers over those of the network alone; fails below 0.90;
- one caller: a call and a forward pass in turns, and the median of how much longer the call took;
  fails above 3 ms. Beside it how much longer it took than what the analyzer itself says of it,
  which no other work on the machine disturbs;
- overload: frames offered at twice the rate that saturation reached; how much of it is answered,
  and what the others are told; fails below 0.90 of saturation, or where one waits in vain;
- a photo to its answer: time per stage, and how many photos the aligner takes while the network
  takes one; fails where the aligner is the slower one.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import grpc
import skimage.data
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `served`
from reference.pictures import aligned_frame
from served import Service, publish_champion, running_service

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.api.v1 import face_pb2
from aufleet.api.v1.face_analysis_service_pb2_grpc import FaceAnalysisServiceStub
from aufleet.registry import Versions
from aufleet.serving.config import ReplicaSettings
from aufleet.storage import open_store
from aufleet_models import build_model
from aufleet_models.inference import InferenceModel

UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
CALLERS = 32
BATCH = ReplicaSettings().max_batch
MIN_SHARE, MAX_ADDED_MS = 0.90, 3.0
DEADLINE_S = 15.0


@dataclass(kw_only=True)
class Measured:
    """One figure per round."""

    bare_rate: list[float] = field(default_factory=list)
    served_rate: list[float] = field(default_factory=list)
    bare_ms: list[float] = field(default_factory=list)
    """Of each forward pass between two calls of one caller."""
    served_ms: list[float] = field(default_factory=list)
    """Of each of those calls."""
    network_ms: list[float] = field(default_factory=list)
    """Of each of those calls, from its arrival at the analyzer to its answer."""


class Caller:
    """Somebody who asks a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __aenter__(self) -> "Caller":
        """Connect."""
        credentials = grpc.ssl_channel_credentials(self._service.roots)
        self._channel = grpc.aio.secure_channel(self._service.target, credentials)
        self._stub = FaceAnalysisServiceStub(self._channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        await self._channel.close()

    async def ask(self, frame: face_pb2.Frame) -> messages.DetectActionUnitsResponse:
        """Ask once, without another attempt."""
        request = messages.DetectActionUnitsRequest(frames=[frame])
        metadata = self._service.metadata()
        return await self._stub.DetectActionUnits(request, metadata=metadata, timeout=DEADLINE_S)


async def saturate(service: Service, frame: face_pb2.Frame, *, images: int) -> float:
    """Return the images per second of many callers, from the first full batch's answers on."""
    ends: list[float] = []
    async with Caller(service) as caller:

        async def call() -> None:
            while len(ends) < images:
                await caller.ask(frame)
                ends.append(time.perf_counter())

        await asyncio.gather(*(call() for _ in range(CALLERS)))
    begin = CALLERS
    return (len(ends) - begin) / (ends[-1] - ends[begin - 1])


async def one_by_one(
    service: Service, frame: face_pb2.Frame, model: InferenceModel, found: Measured, *, calls: int
) -> None:
    """Ask and run the network in turns."""
    async with Caller(service) as caller:
        for _ in range(calls):
            began = time.perf_counter()
            answer = await caller.ask(frame)
            found.served_ms.append((time.perf_counter() - began) * 1e3)
            found.network_ms.append(answer.timings_ms["network"])
            found.bare_ms.append(forwards(model, batch=1, passes=1)[0] * 1e3)


async def overload(
    service: Service, frame: face_pb2.Frame, *, rate: float, seconds: float
) -> tuple[float, Counter[str]]:
    """Offer frames at a rate; returns the answered ones per second, and the codes of all.

    The first deadline's worth of time fills the queue and does not count.
    """
    codes: Counter[str] = Counter()
    answered: list[float] = []
    began = time.perf_counter()
    ends = began + DEADLINE_S + seconds
    async with Caller(service) as caller:

        async def call() -> None:
            try:
                await caller.ask(frame)
                answered.append(time.perf_counter())
                codes["OK"] += 1
            except grpc.RpcError as error:
                codes[error.code().name] += 1

        async with asyncio.TaskGroup() as calls:
            number = 0
            while (now := time.perf_counter()) < ends:
                calls.create_task(call())
                number += 1
                await asyncio.sleep(max(0.0, began + number / rate - now))
    counted = [end for end in answered if began + DEADLINE_S <= end < ends]
    return len(counted) / seconds, codes


async def stages(service: Service, photo: bytes, *, calls: int) -> dict[str, float]:
    """Return stage -> median time in ms of a photo's way."""
    found: dict[str, list[float]] = {}
    async with Caller(service) as caller:
        for _ in range(calls):
            answer = await caller.ask(face_pb2.Frame(encoded=photo))
            assert answer.frames[0].status == face_pb2.FRAME_STATUS_OK
            for stage, ms in answer.timings_ms.items():
                found.setdefault(stage, []).append(ms)
    return {stage: statistics.median(times) for stage, times in found.items()}


def forwards(model: InferenceModel, *, batch: int, passes: int) -> list[float]:
    """Return the seconds of some forward passes."""
    frames = torch.randn(batch, 3, 176, 176, generator=torch.manual_seed(0))
    times = []
    for _ in range(passes):
        began = time.perf_counter()
        model(frames)
        times.append(time.perf_counter() - began)
    return times


def measure(service: Service, model: InferenceModel, options: argparse.Namespace) -> Measured:
    """Measure network and service in turns."""
    frame, found = aligned_frame(), Measured()
    forwards(model, batch=BATCH, passes=1)
    for _ in range(options.rounds):
        times = forwards(model, batch=BATCH, passes=options.images // BATCH)
        found.bare_rate.append(BATCH / statistics.median(times))
        images = options.images + CALLERS
        found.served_rate.append(asyncio.run(saturate(service, frame, images=images)))
        asyncio.run(one_by_one(service, frame, model, found, calls=options.calls))
    return found


def report(found: Measured) -> bool:
    """Print the figures of network and service; returns whether they are good enough."""
    print(f"images/s, batches of {BATCH}: network alone, served")
    for bare, served in zip(found.bare_rate, found.served_rate, strict=True):
        print(f"{bare:8.2f} {served:8.2f}")
    share = statistics.median(found.served_rate) / statistics.median(found.bare_rate)
    print(f"served over bare at saturation: {share:.3f} (at least {MIN_SHARE:.2f})")
    longer = longer_ms(found.served_ms, found.bare_ms)
    added = statistics.median(longer)
    low, _, high = statistics.quantiles(longer, n=4)
    print(
        f"one caller: a call {statistics.median(found.served_ms):.1f} ms, "
        f"a forward pass {statistics.median(found.bare_ms):.1f}; longer by {added:.1f} ms "
        f"(half of them {low:.1f} to {high:.1f}; at most {MAX_ADDED_MS:g}), than the analyzer's "
        f"own time by {statistics.median(longer_ms(found.served_ms, found.network_ms)):.1f} ms"
    )
    return share >= MIN_SHARE and added <= MAX_ADDED_MS


def longer_ms(these: Sequence[float], than: Sequence[float]) -> list[float]:
    """Return how much longer each took than its partner."""
    return [one - other for one, other in zip(these, than, strict=True)]


def report_overload(service: Service, found: Measured, *, seconds: float) -> bool:
    """Offer twice as much as is served, and print what becomes of it."""
    capacity = statistics.median(found.served_rate)
    rate, codes = asyncio.run(
        overload(service, aligned_frame(), rate=2 * capacity, seconds=seconds)
    )
    told = ", ".join(f"{count} {code}" for code, count in codes.most_common())
    print(f"offered at twice that: {rate / capacity:.3f} of it answered; {told}")
    return rate >= MIN_SHARE * capacity and codes.keys() <= {"OK", "RESOURCE_EXHAUSTED"}


def report_stages(service: Service, *, calls: int) -> bool:
    """Print where a photo's time goes."""
    picture = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    photo = cv2.imencode(".jpg", picture)[1].tobytes()
    found = asyncio.run(stages(service, photo, calls=calls))
    print("a photo of 512 x 512:", ", ".join(f"{name} {ms:.1f} ms" for name, ms in found.items()))
    aligner_ms = sum(found[name] for name in ("decode", "find_face", "align"))
    print(
        f"photos that one aligner takes for one of the network: {found['network'] / aligner_ms:.1f}"
    )
    return aligner_ms <= found["network"]


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--width", type=float, default=1.0, help="of the network")
    parser.add_argument("--images", type=int, default=96, help="of each saturated stretch")
    parser.add_argument("--calls", type=int, default=20, help="of one caller, each stretch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--overload-seconds", type=float, default=40.0)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = build_model("mgrrnet", task="au", units=list(UNITS), width=options.width)
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        registry = Versions(f"sqlite:///{home / 'mlflow.db'}")
        root = open_store(str(home / "root"))
        publish_champion(
            "mgrrnet",
            network.state_dict(),
            network.config,
            task="au",
            units=UNITS,
            thresholds={f"AU{unit}": 0.5 for unit in UNITS},
            root=root,
            registry=registry,
        )
        service = stack.enter_context(running_service(home, "mgrrnet", root=root))
        service.await_place()
        model = InferenceModel(network, precision="fp32")
        found = measure(service, model, options)
        good = [
            report(found),
            report_overload(service, found, seconds=options.overload_seconds),
            report_stages(service, calls=options.calls),
        ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
