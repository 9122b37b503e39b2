"""The client against a real gRPC server with TLS on loopback that answers as it is told."""

import asyncio
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from aufleet.api.v1 import face_pb2
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
from aufleet.serving.tls import own_certificates

FAST = RetryPolicy(total_s=5.0, first_pause_s=0.01, longest_pause_s=0.02)


@pytest.fixture
def client(face_server) -> Iterator[Client]:
    with Client(
        face_server.target, token="secret", root_certificates=face_server.ca_file, retry=FAST
    ) as client:
        yield client


def test_units_come_back_with_who_answered(face_server, client: Client, tmp_path: Path) -> None:
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(b"\xff\xd8 picture")
    result = client.detect_action_units(picture, model="demo", all_faces=True)
    assert (result.status, result.model, result.version) == ("OK", "demo", "3")
    assert result.research_use_only
    assert result.timings_ms == {"total": 5.0}
    face = result.faces[0]
    assert (face.box.width, face.landmarks[7], len(face.landmarks)) == (3.0, (7.0, -7.0), 49)
    assert (face.units[0].unit, face.units[0].probability, face.units[0].active) == (12, 0.75, True)
    request = face_server.requests[0]
    assert request.frames[0].encoded == b"\xff\xd8 picture"
    assert request.frames[0].faces == face_pb2.FACE_SELECTION_ALL
    assert face_server.metadata[0]["authorization"] == "Bearer secret"


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
def test_a_busy_server_is_asked_again_with_the_same_request_id(face_server, client, code) -> None:
    face_server.failures = [(code, "busy")] * 3
    assert client.list_models()[0].task == "palsy"
    ids = [metadata["x-request-id"] for metadata in face_server.metadata]
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
def test_what_trying_again_cannot_mend_is_raised_at_once(face_server, client, code, kind) -> None:
    face_server.failures = [(code, "one sentence")]
    with pytest.raises(kind, match="one sentence") as raised:
        client.detect_action_units(b"picture")
    assert raised.value.code == code.name
    assert raised.value.request_id == face_server.metadata[0]["x-request-id"]
    assert len(face_server.requests) == 1


def test_a_request_is_given_up_after_the_policys_time(face_server) -> None:
    face_server.failures = [(grpc.StatusCode.UNAVAILABLE, "no replica is ready")] * 1000
    policy = RetryPolicy(total_s=0.2, first_pause_s=0.01)
    with (
        Client(
            face_server.target, token="t", root_certificates=face_server.ca_file, retry=policy
        ) as client,
        pytest.raises(UnavailableError, match="no replica is ready"),
    ):
        client.list_models()
    assert 2 < len(face_server.requests) < 1000


def test_an_unknown_model_is_named(client: Client) -> None:
    with pytest.raises(RejectedError, match="no model 'x': known models are demo") as raised:
        client.get_model("x")
    assert raised.value.code == "NOT_FOUND"


def test_the_asynchronous_client_does_the_same(face_server) -> None:
    async def ask() -> None:
        async with AsyncClient(
            face_server.target, token="secret", root_certificates=face_server.ca_file, retry=FAST
        ) as client:
            face_server.failures = [(grpc.StatusCode.UNAVAILABLE, "busy")]
            results = await asyncio.gather(*(client.detect_action_units(b"x") for _ in range(4)))
            assert [result.status for result in results] == ["OK"] * 4
            assert (await client.grade_palsy(b"x")).faces[0].palsy.grade == "medium"
            assert (await client.grade_palsy_series([b"x", b"y"])).num_frames_used == 1
            assert [model.name for model in await client.list_models()] == ["demo"]
            with pytest.raises(RejectedError):
                await client.get_model("x")

    asyncio.run(ask())


def test_a_stranger_with_another_certificate_is_not_trusted_nor_waited_for(
    face_server, tmp_path: Path
) -> None:
    other = own_certificates(tmp_path, hosts=["127.0.0.1"])
    began = time.monotonic()
    with (
        Client(face_server.target, token="t", root_certificates=other.ca_file) as client,
        pytest.raises(UnavailableError, match="certificate is not trusted"),
    ):
        client.list_models()
    assert time.monotonic() - began < 10
    assert face_server.requests == []


def test_the_pause_that_the_server_asks_for_is_kept(face_server, client: Client) -> None:
    face_server.failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")]
    face_server.retry_delay_s = 0.3
    began = time.monotonic()
    client.list_models()
    assert time.monotonic() - began >= 0.3


def test_what_the_server_asks_for_may_be_longer_than_the_policy_allows(face_server) -> None:
    face_server.failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")]
    face_server.retry_delay_s = 0.9
    policy = RetryPolicy(total_s=0.5, first_pause_s=0.01)
    with (
        Client(
            face_server.target, token="t", root_certificates=face_server.ca_file, retry=policy
        ) as client,
        pytest.raises(UnavailableError, match="the queue is full") as raised,
    ):
        client.list_models()
    assert raised.value.code == "RESOURCE_EXHAUSTED"


def test_a_request_that_is_too_large_is_not_sent_again(face_server) -> None:
    # The server's transport takes gRPC's own 4 MiB.
    with (
        Client(face_server.target, token="t", root_certificates=face_server.ca_file) as client,
        pytest.raises(RejectedError, match="the request is too large, send fewer or smaller"),
    ):
        client.detect_action_units(b"x" * 5_000_000)
    assert face_server.requests == []


def test_an_error_keeps_its_code_between_processes() -> None:
    error = pickle.loads(pickle.dumps(RejectedError("no model 'x'", "NOT_FOUND", "r1")))
    assert (str(error), error.code, error.request_id) == ("no model 'x'", "NOT_FOUND", "r1")


def test_files_and_tokens_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the token is empty"):
        Client("127.0.0.1:1", token="")
    with pytest.raises(ConfigError, match=r"missing\.pem cannot be read: No such file"):
        Client("127.0.0.1:1", token="t", root_certificates=tmp_path / "missing.pem")
    with pytest.raises(ConfigError, match="root_certificates holds no certificate"):
        Client("127.0.0.1:1", token="t", root_certificates=b"not PEM")


def test_importing_the_client_loads_nothing_heavy() -> None:
    heavy = {"torch", "ray", "cv2", "numpy", "rich", "pydantic", "typer"}
    code = f"import sys, aufleet.client; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
