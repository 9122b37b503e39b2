"""A gRPC server with TLS on loopback that answers as it is told, for the client's tests."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from aufleet.api.v1 import face_analysis_service_pb2 as service
from aufleet.api.v1 import face_analysis_service_pb2_grpc as rpc
from aufleet.api.v1 import face_pb2, model_pb2
from aufleet.serving.tls import TlsFiles, own_certificates

WHO = {"model": "demo", "version": "3", "request_id": "r1", "research_use_only": True}


class FaceServer(rpc.FaceAnalysisServiceServicer):
    """Keeps what it was asked; fails as often as `failures` says, and sees what `status` says."""

    def __init__(self, *, ca_file: Path) -> None:
        self.target, self.ca_file = "", ca_file
        self.stop: Callable[[], object] = lambda: None
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self.retry_delay_s = 0.0
        self.status = face_pb2.FRAME_STATUS_OK
        self.metadata: list[dict[str, str]] = []
        self.requests: list[object] = []
        self.stream_breaks: list[tuple[int, grpc.StatusCode]] = []
        self.stream_times: list[list[float]] = []

    def _note(self, request: object, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.metadata.append({key: value for key, value in context.invocation_metadata()})
        if self.failures:
            code, message = self.failures.pop(0)
            if self.retry_delay_s:
                context.set_trailing_metadata([self._retry_info(code, message)])
            context.abort(code, message)

    def _retry_info(self, code: grpc.StatusCode, message: str) -> tuple[str, bytes]:
        detail = AnyMessage()
        detail.Pack(RetryInfo(retry_delay=Duration(nanos=int(self.retry_delay_s * 1e9))))
        status = Status(code=code.value[0], message=message, details=[detail])
        return "grpc-status-details-bin", status.SerializeToString()

    def DetectActionUnits(self, request, context):
        self._note(request, context)
        if self.status != face_pb2.FRAME_STATUS_OK:
            blind = face_pb2.FrameResult(status=self.status, message="nothing to see")
            return service.DetectActionUnitsResponse(frames=[blind], **WHO)
        result = face_pb2.FrameResult(status=face_pb2.FRAME_STATUS_OK, faces=[self._face()])
        return service.DetectActionUnitsResponse(frames=[result], timings_ms={"total": 5}, **WHO)

    def _face(self) -> face_pb2.Face:
        score = face_pb2.UnitScore(unit=12, probability=0.75, threshold=0.5, active=True)
        return face_pb2.Face(
            box=face_pb2.Box(x=1, y=2, width=3, height=4),
            landmarks=[face_pb2.Point(x=k, y=-k) for k in range(49)],
            units=[score],
        )

    def GradePalsy(self, request, context):
        self._note(request, context)
        palsy = face_pb2.PalsyResult(
            grade=face_pb2.PALSY_GRADE_MEDIUM,
            probabilities=face_pb2.GradeProbabilities(
                normal=0.125, low=0.25, medium=0.5, high=0.125
            ),
            house_brackmann_min=3,
            house_brackmann_max=4,
        )
        good = face_pb2.FrameResult(
            status=face_pb2.FRAME_STATUS_OK, faces=[face_pb2.Face(palsy=palsy)]
        )
        bad = face_pb2.FrameResult(
            status=face_pb2.FRAME_STATUS_UNGRADABLE,
            ungradable_reason=face_pb2.UNGRADABLE_REASON_POSE,
            message="the head is turned too far",
        )
        only = bad if self.status == face_pb2.FRAME_STATUS_UNGRADABLE else good
        frames = [only] if len(request.frames) == 1 else [good, bad]
        pooled = palsy if len(request.frames) > 1 else None
        return service.GradePalsyResponse(frames=frames, pooled=pooled, num_frames_used=1, **WHO)

    def AnalyzeStream(self, request_iterator, context):
        """Answer frames; `stream_breaks` says after how many, and how, each attempt is lost."""
        config = next(request_iterator)
        self._note(config, context)
        times: list[float] = []
        self.stream_times.append(times)
        left, code = self.stream_breaks.pop(0) if self.stream_breaks else (None, None)
        for request in request_iterator:
            if left is not None and len(times) == left:
                context.abort(code, "the gateway stops")
            times.append(request.frame.time_s)
            result = face_pb2.FrameResult(
                status=self.status, faces=[self._face()], message=request.frame.frame.id
            )
            yield service.AnalyzeStreamResponse(frame=result, time_s=times[-1], **WHO)

    def ListModels(self, request, context):
        self._note(request, context)
        model = model_pb2.Model(
            name="demo", version="3", aliases=["champion"], task=model_pb2.TASK_PALSY
        )
        return service.ListModelsResponse(models=[model])

    def GetModel(self, request, context):
        self._note(request, context)
        context.abort(grpc.StatusCode.NOT_FOUND, "no model 'x': known models are demo")


@pytest.fixture(scope="session")
def face_server_tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return own_certificates(tmp_path_factory.mktemp("tls"), hosts=["127.0.0.1"])


@pytest.fixture
def face_server(face_server_tls: TlsFiles) -> Iterator[FaceServer]:
    """A running server; its `target` and `ca_file` say how to reach it."""
    with _running_server(face_server_tls) as server:
        yield server


@pytest.fixture
def other_face_server(face_server_tls: TlsFiles) -> Iterator[FaceServer]:
    """A second one."""
    with _running_server(face_server_tls) as server:
        yield server


@contextmanager
def _running_server(tls: TlsFiles) -> Iterator[FaceServer]:
    servicer = FaceServer(ca_file=tls.ca_file)
    running = grpc.server(ThreadPoolExecutor(2))
    rpc.add_FaceAnalysisServiceServicer_to_server(servicer, running)
    pair = (tls.key_file.read_bytes(), tls.certificate_file.read_bytes())
    port = running.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    servicer.target = f"127.0.0.1:{port}"
    running.start()
    servicer.stop = lambda: running.stop(None).wait()
    yield servicer
    running.stop(None).wait()
