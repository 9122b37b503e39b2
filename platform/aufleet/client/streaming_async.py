"""A stream of the client for asyncio: answers in order, taken up again after a lost connection."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from aufleet.api.v1 import face_analysis_service_pb2 as service
from aufleet.api.v1 import face_analysis_service_pb2_grpc as rpc
from aufleet.client import messages
from aufleet.client.connection import REQUEST_ID_KEY
from aufleet.client.frames import FrameBuffer
from aufleet.client.messages import Wishes
from aufleet.client.pool import Pool
from aufleet.client.results import FrameResult
from aufleet.client.stream_attempts import StreamAttempts, frame_request

NUM_THREADS = 2
"""That read the frames of one stream: an attempt that was lost may still hold one."""


async def stream_results(
    pool: "Pool[rpc.FaceAnalysisServiceStub]",
    buffer: FrameBuffer,
    attempts: StreamAttempts,
    *,
    config: service.AnalyzeStreamRequest,
    wishes: Wishes,
) -> AsyncGenerator[FrameResult, None]:
    """Yield the result of each frame of a buffer, in order and each once.

    Raises:
        ClientError: The stream ended without all answers and cannot be taken up again.
        Exception: Whatever reading the frames raised.
    """
    loop = asyncio.get_running_loop()
    # Of its own: the loop's threads would be held by a few streams that wait for their frames.
    threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="frames")

    async def requests(
        number: int, begun: asyncio.Event
    ) -> AsyncIterator[service.AnalyzeStreamRequest]:
        yield config
        while (frame := await loop.run_in_executor(threads, buffer.frame, number)) is not None:
            yield frame_request(frame, wishes)
            # Where the gateway refuses the stream, nothing is being written: its code is told.
            await begun.wait()
            number += 1

    try:
        while True:
            gateway = pool.next()
            begun = asyncio.Event()
            call = gateway.stub.AnalyzeStream(
                requests(attempts.begin(), begun), metadata=[(REQUEST_ID_KEY, attempts.request_id)]
            )
            try:
                async for answer in call:
                    begun.set()
                    pool.answered(gateway)
                    if attempts.accept(answer):
                        yield messages.stream_result(answer)
                attempts.ended()
                return
            except grpc.RpcError as error:
                pause_s = attempts.pause_after(error)
                pause_s = pool.pause_after(error, gateway, pause_s=pause_s)
            finally:
                begun.set()
                call.cancel()
            await asyncio.sleep(pause_s)
    finally:
        buffer.close()
        threads.shutdown(wait=False, cancel_futures=True)


def blocking(
    frames: "Iterable[tuple[float, bytes]] | AsyncIterable[tuple[float, bytes]]",
) -> Iterator[tuple[float, bytes]]:
    """Return frames to be read by another thread than the loop's."""
    if not isinstance(frames, AsyncIterable):
        return iter(frames)
    loop, source = asyncio.get_running_loop(), aiter(frames)

    async def following() -> tuple[float, bytes] | None:
        return await anext(source, None)

    def read() -> Iterator[tuple[float, bytes]]:
        while (frame := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not None:
            yield frame

    return read()
