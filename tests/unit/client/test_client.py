"""The client against a real gRPC server with TLS on loopback that answers as it is told."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from aufleet.api.v1 import face_analysis_service_pb2 as service
from aufleet.api.v1 import face_analysis_service_pb2_grpc as rpc
from aufleet.api.v1 import face_pb2, model_pb2
from aufleet.client import (
    AccessError,
    AsyncClient,
    Client,
    ClientError,
    RejectedError,
    RetryPolicy,
    UnavailableError,
)
from aufleet.errors import ConfigError
from aufleet.serving.tls import TlsFiles, own_certificates

FAST = RetryPolicy(total_s=5.0, first_pause_s=0.01, longest_pause_s=0.02)
WHO = {"model": "demo", "version": "3", "request_id": "r1", "research_use_only": True}


class _Server(rpc.FaceAnalysisServiceServicer):
    """Keeps what it was asked; fails as often as `failures` says."""

    def __init__(self) -> None:
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self.metadata: list[dict[str, str]] = []
        self.requests: list[object] = []

    def _note(self, request: object, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.metadata.append({key: value for key, value in context.invocation_metadata()})
        if self.failures:
            context.set_trailing_metadata([("retry-delay-ms", "15")])
            context.abort(*self.failures.pop(0))

    def DetectActionUnits(self, request, context):
        self._note(request, context)
        score = face_pb2.UnitScore(unit=12, probability=0.75, threshold=0.5, active=True)
        face = face_pb2.Face(
            box=face_pb2.Box(x=1, y=2, width=3, height=4),
            landmarks=[face_pb2.Point(x=k, y=-k) for k in range(49)],
            units=[score],
        )
        result = face_pb2.FrameResult(status=face_pb2.FRAME_STATUS_OK, faces=[face])
        return service.DetectActionUnitsResponse(frames=[result], timings_ms={"total": 5}, **WHO)

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
        frames = [good] if len(request.frames) == 1 else [good, bad]
        pooled = palsy if len(request.frames) > 1 else None
        return service.GradePalsyResponse(frames=frames, pooled=pooled, num_frames_used=1, **WHO)

    def ListModels(self, request, context):
        self._note(request, context)
        model = model_pb2.Model(
            name="demo", version="3", aliases=["champion"], task=model_pb2.TASK_PALSY
        )
        return service.ListModelsResponse(models=[model])

    def GetModel(self, request, context):
        self._note(request, context)
        context.abort(grpc.StatusCode.NOT_FOUND, "no model 'x': known models are demo")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return own_certificates(tmp_path_factory.mktemp("tls"), hosts=["127.0.0.1"])


@pytest.fixture
def server(tls: TlsFiles) -> Iterator[tuple[_Server, str]]:
    servicer = _Server()
    running = grpc.server(ThreadPoolExecutor(2))
    rpc.add_FaceAnalysisServiceServicer_to_server(servicer, running)
    pair = (tls.key_file.read_bytes(), tls.certificate_file.read_bytes())
    port = running.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    running.start()
    yield servicer, f"127.0.0.1:{port}"
    running.stop(None).wait()


@pytest.fixture
def client(server: tuple[_Server, str], tls: TlsFiles) -> Iterator[Client]:
    with Client(server[1], token="secret", root_certificates=tls.ca_file, retry=FAST) as client:
        yield client


def test_units_come_back_with_who_answered(server, client: Client, tmp_path: Path) -> None:
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(b"\xff\xd8 picture")
    result = client.detect_action_units(picture, model="demo", all_faces=True)
    assert (result.status, result.model, result.version) == ("OK", "demo", "3")
    assert result.research_use_only
    assert result.timings_ms == {"total": 5.0}
    face = result.faces[0]
    assert (face.box.width, face.landmarks[7], len(face.landmarks)) == (3.0, (7.0, -7.0), 49)
    assert (face.units[0].unit, face.units[0].probability, face.units[0].active) == (12, 0.75, True)
    request = server[0].requests[0]
    assert request.frames[0].encoded == b"\xff\xd8 picture"
    assert request.frames[0].faces == face_pb2.FACE_SELECTION_ALL
    assert server[0].metadata[0]["authorization"] == "Bearer secret"


def test_a_grade_has_its_house_brackmann_range_and_no_side_that_was_not_told(client) -> None:
    palsy = client.grade_palsy(b"picture").faces[0].palsy
    assert (palsy.grade, palsy.house_brackmann_min, palsy.house_brackmann_max) == ("medium", 3, 4)
    assert palsy.probabilities == {"normal": 0.125, "low": 0.25, "medium": 0.5, "high": 0.125}
    assert palsy.side is None
    assert palsy.regions == ()


def test_a_series_has_a_pooled_grade_and_each_frames_own_status(client: Client) -> None:
    series = client.grade_palsy_series([b"one", b"two"])
    assert [frame.status for frame in series.frames] == ["OK", "UNGRADABLE"]
    assert series.frames[1].ungradable_reason == "POSE"
    assert series.pooled is not None
    assert (series.pooled.grade, series.num_frames_used) == ("medium", 1)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_a_busy_server_is_asked_again_with_the_same_request_id(server, client, code) -> None:
    server[0].failures = [(code, "busy")] * 3
    assert client.list_models()[0].task == "palsy"
    ids = [metadata["x-request-id"] for metadata in server[0].metadata]
    assert len(ids) == 4
    assert len(set(ids)) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, RejectedError),
        (grpc.StatusCode.UNAUTHENTICATED, AccessError),
        (grpc.StatusCode.INTERNAL, ClientError),
    ],
)
def test_what_trying_again_cannot_mend_is_raised_at_once(server, client, code, kind) -> None:
    server[0].failures = [(code, "one sentence")]
    with pytest.raises(kind, match="one sentence") as raised:
        client.detect_action_units(b"picture")
    assert raised.value.code == code.name
    assert raised.value.request_id == server[0].metadata[0]["x-request-id"]
    assert len(server[0].requests) == 1


def test_a_request_is_given_up_after_the_policys_time(server, tls: TlsFiles) -> None:
    server[0].failures = [(grpc.StatusCode.UNAVAILABLE, "no replica is ready")] * 1000
    policy = RetryPolicy(total_s=0.2, first_pause_s=0.01)
    with (
        Client(server[1], token="t", root_certificates=tls.ca_file, retry=policy) as client,
        pytest.raises(UnavailableError, match="no replica is ready"),
    ):
        client.list_models()
    assert 2 < len(server[0].requests) < 1000


def test_an_unknown_model_is_named(client: Client) -> None:
    with pytest.raises(RejectedError, match="no model 'x': known models are demo") as raised:
        client.get_model("x")
    assert raised.value.code == "NOT_FOUND"


def test_the_asynchronous_client_does_the_same(server, tls: TlsFiles) -> None:
    async def ask() -> None:
        async with AsyncClient(
            server[1], token="secret", root_certificates=tls.ca_file, retry=FAST
        ) as client:
            server[0].failures = [(grpc.StatusCode.UNAVAILABLE, "busy")]
            results = await asyncio.gather(*(client.detect_action_units(b"x") for _ in range(4)))
            assert [result.status for result in results] == ["OK"] * 4
            assert (await client.grade_palsy(b"x")).faces[0].palsy.grade == "medium"
            assert (await client.grade_palsy_series([b"x", b"y"])).num_frames_used == 1
            assert [model.name for model in await client.list_models()] == ["demo"]
            with pytest.raises(RejectedError):
                await client.get_model("x")

    asyncio.run(ask())


def test_a_stranger_with_another_certificate_is_not_trusted(server, tmp_path: Path) -> None:
    other = own_certificates(tmp_path, hosts=["127.0.0.1"])
    policy = RetryPolicy(total_s=0.0)
    with (
        Client(server[1], token="t", root_certificates=other.ca_file, retry=policy) as client,
        pytest.raises(UnavailableError),
    ):
        client.list_models()
    assert server[0].requests == []


def test_files_and_tokens_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the token is empty"):
        Client("127.0.0.1:1", token="")
    with pytest.raises(ConfigError, match=r"missing\.pem cannot be read: No such file"):
        Client("127.0.0.1:1", token="t", root_certificates=tmp_path / "missing.pem")


def test_importing_the_client_loads_nothing_heavy() -> None:
    heavy = {"torch", "ray", "cv2", "numpy", "rich", "pydantic", "typer"}
    code = f"import sys, aufleet.client; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
