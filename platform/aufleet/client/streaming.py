"""A stream of the blocking client: answers in order, taken up again after a lost connection."""

import time
from collections.abc import Generator, Iterator

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


def stream_results(
    pool: "Pool[rpc.FaceAnalysisServiceStub]",
    buffer: FrameBuffer,
    attempts: StreamAttempts,
    *,
    config: service.AnalyzeStreamRequest,
    wishes: Wishes,
) -> Generator[FrameResult, None, None]:
    """Yield the result of each frame of a buffer, in order and each once.

    Raises:
        ClientError: The stream ended without all answers and cannot be taken up again.
        Exception: Whatever reading the frames raised.
    """

    def requests(number: int) -> Iterator[service.AnalyzeStreamRequest]:
        yield config
        while (frame := buffer.frame(number)) is not None:
            yield frame_request(frame, wishes)
            number += 1

    try:
        while True:
            gateway = pool.next()
            call = gateway.stub.AnalyzeStream(
                requests(attempts.begin()), metadata=[(REQUEST_ID_KEY, attempts.request_id)]
            )
            try:
                for answer in call:
                    pool.answered(gateway)
                    if attempts.accept(answer):
                        yield messages.stream_result(answer)
                attempts.ended()
                return
            except grpc.RpcError as error:
                pause_s = attempts.pause_after(error)
                pause_s = pool.pause_after(error, gateway, pause_s=pause_s)
            finally:
                call.cancel()
            time.sleep(pause_s)
    finally:
        buffer.close()
