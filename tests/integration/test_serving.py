"""The service as a user starts it: `aufleet serve`, real networks, real Ray, TLS and tokens.

One service for the whole file; the last test stops it.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
import skimage.data
from callers import run_examples, run_triton_client
from cards import UNITS
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from served import publish_champion, running_service
from strangers import codes_for_a_stranger, page_for_a_stranger

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.api.v1 import face_pb2
from aufleet.registry import Versions
from aufleet.serving.tokens import ANALYZE, READ_MODELS, TokenFile
from aufleet.storage import open_store
from aufleet_models import build_model

pytestmark = pytest.mark.ray

STOP_TIMEOUT_S = 30
MOVE_TIMEOUT_S, WARM_MOVE_TIMEOUT_S = 90, 20
"""A busy machine takes long to start a process; `tests/chaos/serve_releases.py` has the times."""
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    home = tmp_path_factory.mktemp("serving")
    registry = Versions(f"sqlite:///{home / 'mlflow.db'}")
    root = open_store(str(home / "root"))
    units = build_model("algrnet", task="au", units=list(UNITS), width=0.25)
    grades = build_model("resnet18", task="palsy", width=0.125)
    for name, network, task in (("faces", units, "au"), ("palsy", grades, "palsy")):
        publish_champion(
            name, network.state_dict(), network.config, task=task, root=root, registry=registry
        )
    with running_service(home, "faces", "palsy@champion", root=root) as running:
        yield running


@pytest.fixture
def lives_on(service):
    """After the test the service still answers."""
    yield service
    models = service.faces.ListModels(messages.ListModelsRequest(), metadata=service.metadata())
    assert {(model.name, model.ready) for model in models.models} == {
        ("faces", True),
        ("palsy", True),
    }


def encode(frame, kind=".png"):
    return cv2.imencode(kind, frame)[1].tobytes()


@pytest.fixture(scope="module")
def astronaut():
    return encode(cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR), ".jpg")


def failure_of(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    assert "\n" not in error.value.details()
    assert "Traceback" not in str(error.value.trailing_metadata())
    return error.value.code().name, error.value.details()


def test_a_real_photo_is_answered(lives_on, astronaut):
    response = lives_on.detect(face_pb2.Frame(encoded=astronaut, id="astronaut"))
    assert (response.model, response.version) == ("faces", "1")
    assert response.research_use_only
    assert response.request_id
    assert {*response.timings_ms} == {"decode", "find_face", "align", "network", "total"}
    frame = response.frames[0]
    assert (frame.id, frame.status) == ("astronaut", face_pb2.FRAME_STATUS_OK)
    (face,) = frame.faces
    box = (face.box.x, face.box.y, face.box.width, face.box.height)
    np.testing.assert_allclose(box, (180, 72, 90, 106), atol=12)
    assert len(face.landmarks) == 49
    assert [unit.unit for unit in face.units] == list(UNITS)
    assert all(unit.active == (unit.probability >= unit.threshold) for unit in face.units)


def test_an_aligned_frame_is_answered(lives_on):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype="u1")
    response = lives_on.detect(face_pb2.Frame(aligned=encode(noise)))
    assert response.frames[0].status == face_pb2.FRAME_STATUS_OK
    assert {*response.timings_ms} == {"network", "total"}


def test_faces_that_must_not_be_judged_say_why_and_are_not(lives_on, astronaut):
    photo = cv2.imdecode(np.frombuffer(astronaut, "u1"), cv2.IMREAD_COLOR)
    blurred = encode(cv2.GaussianBlur(photo, (0, 0), 3))
    frames = [
        face_pb2.Frame(encoded=blurred),
        face_pb2.Frame(aligned=encode(np.full((200, 200, 3), 99, "u1"))),
        face_pb2.Frame(encoded=encode(photo[:, 205:])),
        face_pb2.Frame(encoded=blurred, include_ungradable=True),
        face_pb2.Frame(encoded=astronaut),
    ]
    request = messages.GradePalsyRequest(frames=frames)
    response = lives_on.faces.GradePalsy(request, metadata=lives_on.metadata(), timeout=60)
    assert [frame.status for frame in response.frames] == [5, 5, 5, 5, 1]
    blur, occlusion = face_pb2.UNGRADABLE_REASON_BLUR, face_pb2.UNGRADABLE_REASON_OCCLUSION
    assert [frame.ungradable_reason for frame in response.frames] == [
        blur,
        blur,
        occlusion,
        blur,
        0,
    ]
    assert "the face is blurred: sharpness" in response.frames[0].message
    graded = [frame.faces[0].HasField("palsy") for frame in response.frames]
    assert graded == [False, False, False, True, True]
    assert all(frame.faces[0].box.width > 50 for frame in response.frames)
    # Only the last one counts.
    assert response.num_frames_used == 1
    assert response.pooled == response.frames[4].faces[0].palsy


def test_a_palsy_is_graded_over_several_frames(lives_on, astronaut):
    frame = face_pb2.Frame(encoded=astronaut)
    request = messages.GradePalsyRequest(frames=[frame, face_pb2.Frame(encoded=b"no"), frame])
    response = lives_on.faces.GradePalsy(request, metadata=lives_on.metadata(), timeout=30)
    assert response.model == "palsy"
    assert [each.status for each in response.frames] == [1, 3, 1]
    assert response.num_frames_used == 2
    probabilities = response.frames[0].faces[0].palsy.probabilities
    total = sum(getattr(probabilities, each) for each in ("normal", "low", "medium", "high"))
    assert total == pytest.approx(1.0, abs=1e-5)
    # Without a trained head there is no such field.
    assert not response.frames[0].faces[0].palsy.HasField("side")
    assert response.pooled.grade == response.frames[0].faces[0].palsy.grade


def test_many_callers_at_once_are_all_answered(lives_on, astronaut):
    request = messages.DetectActionUnitsRequest(frames=[face_pb2.Frame(encoded=astronaut)])
    calls = [
        lives_on.faces.DetectActionUnits.future(request, metadata=lives_on.metadata(), timeout=60)
        for _ in range(24)
    ]
    scores = {call.result().frames[0].faces[0].units[0].probability for call in calls}
    # Whatever the batch, a face has one answer.
    assert max(scores) - min(scores) < 1e-4


def test_a_stream_is_answered_in_order_and_smoothed(lives_on, astronaut):
    blank = encode(np.full((300, 400, 3), 80, "u1"))
    darker = cv2.imdecode(np.frombuffer(astronaut, "u1"), cv2.IMREAD_COLOR) // 2
    frames = [astronaut, b"no picture", blank, *[encode(darker, ".jpg")] * 7]
    requests = [
        messages.AnalyzeStreamRequest(
            config=messages.StreamConfig(model="faces", smoothing_time_s=0.5)
        ),
        *(
            messages.AnalyzeStreamRequest(
                frame=messages.StreamFrame(frame=face_pb2.Frame(encoded=frame), time_s=0.1 * k)
            )
            for k, frame in enumerate(frames)
        ),
    ]
    stream = lives_on.faces.AnalyzeStream(iter(requests), metadata=lives_on.metadata(), timeout=60)
    answers = list(stream)
    assert [answer.time_s for answer in answers] == [0.1 * k for k in range(10)]
    assert [answer.frame.status for answer in answers] == [1, 3, 2] + [1] * 7
    assert {(answer.model, answer.version) for answer in answers} == {("faces", "1")}
    scores = [answer.frame.faces[0].units[0].probability for answer in answers[3:]]
    first = answers[0].frame.faces[0].units[0].probability
    settled = lives_on.detect(face_pb2.Frame(encoded=frames[-1])).frames[0].faces[0].units[0]
    # What is left of the first frame, by the frames' own times.
    left = np.exp(-np.arange(3, 10) / 5)
    expected = settled.probability + left * (first - settled.probability)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


BAD_FRAMES = {
    "not an image": (b"this is no picture", "the bytes are not a picture"),
    "empty": (b"", "the picture is empty"),
    "half a picture": (encode(np.zeros((90, 90, 3), "u1"))[:60], "cannot be decoded"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bytes_that_are_no_picture_are_an_invalid_argument(lives_on, name):
    encoded, words = BAD_FRAMES[name]
    code, details = failure_of(lambda: lives_on.detect(face_pb2.Frame(encoded=encoded)))
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("frames[0].encoded: ")
    assert words in details


def test_fifty_megapixels_are_an_invalid_argument(lives_on):
    bomb = encode(np.zeros((5_000, 10_000), "u1"))
    assert len(bomb) < 200_000
    code, details = failure_of(lambda: lives_on.detect(face_pb2.Frame(encoded=bomb)))
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("frames[0].encoded: the picture has 10000 x 5000 pixels")


def test_a_request_without_a_frame_is_an_invalid_argument(lives_on):
    code, details = failure_of(lives_on.detect)
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("frames: ")


def test_a_picture_without_a_face_is_an_answer(lives_on):
    response = lives_on.detect(face_pb2.Frame(encoded=encode(np.full((300, 400, 3), 80, "u1"))))
    assert response.frames[0].status == face_pb2.FRAME_STATUS_NO_FACE


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "nobody"}, "NOT_FOUND"),
        ({"model": "faces", "version": "99"}, "NOT_FOUND"),
        ({"model": "palsy"}, "FAILED_PRECONDITION"),
    ],
)
def test_a_model_that_cannot_answer_is_named(lives_on, astronaut, fields, code):
    frame = face_pb2.Frame(encoded=astronaut)
    found, details = failure_of(lambda: lives_on.detect(frame, **fields))
    assert found == code
    assert "faces:1 (action units), palsy:1 (palsy grades)" in details


def test_no_token_a_wrong_one_and_one_without_the_scope_are_refused(lives_on, astronaut):
    request = messages.DetectActionUnitsRequest(frames=[face_pb2.Frame(encoded=astronaut)])
    detect = lives_on.faces.DetectActionUnits
    assert failure_of(lambda: detect(request))[0] == "UNAUTHENTICATED"
    wrong = lives_on.metadata("auf_0123456789ab_" + "x" * 43)
    assert failure_of(lambda: detect(request, metadata=wrong))[0] == "UNAUTHENTICATED"
    reader = lives_on.metadata(lives_on.create_token("reader", READ_MODELS))
    code, details = failure_of(lambda: detect(request, metadata=reader))
    assert (code, ANALYZE in details) == ("PERMISSION_DENIED", True)


def test_a_token_works_at_once_and_is_revoked_at_once(lives_on):
    token = lives_on.create_token("guest", READ_MODELS)
    list_models = lives_on.faces.ListModels
    request, metadata = messages.ListModelsRequest(), lives_on.metadata(token)
    assert list_models(request, metadata=metadata).models
    TokenFile(lives_on.home / "tokens.json").revoke("guest")
    assert failure_of(lambda: list_models(request, metadata=metadata))[0] == "UNAUTHENTICATED"


def test_health_needs_no_token(lives_on):
    stub = health_pb2_grpc.HealthStub(lives_on.channel)
    for name in ("", "faces", "faces:1", "palsy", "palsy:1"):
        request = health_pb2.HealthCheckRequest(service=name)
        assert stub.Check(request, timeout=5).status == SERVING
    unknown = health_pb2.HealthCheckRequest(service="nobody")
    assert failure_of(lambda: stub.Check(unknown, timeout=5))[0] == "NOT_FOUND"
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="faces"), timeout=5)
    assert next(watch).status == SERVING
    watch.cancel()


@pytest.mark.parametrize(("name", "code"), [("faces", 0), ("nobody", 1)])
def test_the_health_verb_is_a_probe(lives_on, name, code):
    done = subprocess.run(
        [sys.executable, "-m", "aufleet.cli", "health", lives_on.target, "--service", name],
        env={**os.environ, "AUFLEET_HOME": str(lives_on.home)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr


def test_reflection_needs_a_token_and_lists_the_services(lives_on):
    reflect = reflection_pb2_grpc.ServerReflectionStub(lives_on.channel).ServerReflectionInfo
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    assert failure_of(lambda: next(reflect(iter([question]))))[0] == "UNAUTHENTICATED"
    answer = next(reflect(iter([question]), metadata=lives_on.metadata()))
    assert {service.name for service in answer.list_services_response.service} == {
        "aufleet.api.v1.FaceAnalysisService",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_the_examples_for_callers_run(lives_on, astronaut, tmp_path):
    photo = cv2.imdecode(np.frombuffer(astronaut, "u1"), cv2.IMREAD_COLOR)
    (tmp_path / "portrait.jpg").write_bytes(astronaut)
    (tmp_path / "blurred.jpg").write_bytes(encode(cv2.GaussianBlur(photo, (0, 0), 3), ".jpg"))
    film = cv2.VideoWriter(
        str(tmp_path / "walk.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, photo.shape[1::-1]
    )
    for _ in range(8):
        film.write(photo)
    film.release()
    done = run_examples(lives_on, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "OK faces 1" in done.stdout
    assert "the face is blurred: sharpness" in done.stdout
    assert "FAILED_PRECONDITION model 'faces' answers action units" in done.stdout
    assert done.stdout.count(" s OK ") == 8
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")


def test_without_tls_or_with_another_authority_there_is_no_answer(lives_on, tmp_path):
    from aufleet.serving.tls import own_certificates

    other = own_certificates(tmp_path).ca_file.read_bytes()
    request = health_pb2.HealthCheckRequest()
    with grpc.insecure_channel(lives_on.target) as plain:
        check = health_pb2_grpc.HealthStub(plain).Check
        assert failure_of(lambda: check(request, timeout=5))[0] == "UNAVAILABLE"
    with grpc.secure_channel(lives_on.target, grpc.ssl_channel_credentials(other)) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        assert failure_of(lambda: check(request, timeout=5))[0] == "UNAVAILABLE"
    lives_on.await_logged('"event": "handshake refused", "reason": "wrong version number"')


def test_tritonclient_is_served_unchanged(lives_on, astronaut, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(astronaut)
    done = run_triton_client(lives_on, tmp_path / "photo.jpg")
    assert done.returncode == 0, done.stderr


def test_a_taken_port_is_said_in_one_line(lives_on):
    port = lives_on.target.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "aufleet.cli", "serve", "--model", "faces", "--port", port],
        env={**os.environ, "AUFLEET_HOME": str(lives_on.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_alias_that_moves_reaches_callers_without_a_failed_request(lives_on, astronaut):
    lives_on.await_place()
    registry = Versions(f"sqlite:///{lives_on.home / 'mlflow.db'}")
    old = registry.resolve("faces")
    network = build_model("algrnet", task="au", units=list(UNITS), width=0.25)
    publish_champion(
        "faces",
        network.state_dict(),
        network.config,
        task="au",
        root=open_store(str(lives_on.home / "root")),
        registry=registry,
    )
    aligned = face_pb2.Frame(aligned=encode(np.full((200, 200, 3), 99, "u1")))

    def await_version(version):
        deadline = time.monotonic() + MOVE_TIMEOUT_S
        # Every call is answered, by the one or the other: a failed one would raise.
        while lives_on.detect(aligned, model="faces").version != version:
            assert time.monotonic() < deadline, lives_on.output

    await_version("2")
    assert not any(b"model-faces-2" in command for command in lives_on.processes())
    # It names the version that it was, and callers may, too, for a while.
    assert lives_on.detect(aligned, model="faces", version=old.version).version == "1"
    began = time.monotonic()
    registry.roll_back("faces")
    await_version("1")
    assert time.monotonic() - began < WARM_MOVE_TIMEOUT_S
    assert "faces@champion: version 1 -> 2" in lives_on.output


def test_from_elsewhere_no_socket_but_the_gateways_answers_without_a_token(lives_on):
    """Every socket of the service that is not loopback's, asked as a stranger asks."""
    gateway = int(lives_on.target.rpartition(":")[2])
    sockets = [each for each in lives_on.listening() if not each.ip.endswith("127.0.0.1")]
    assert gateway not in {each.port for each in sockets}
    assert len(sockets) > 5, "Ray's own are there"
    guarded = 0
    for each in sockets:
        # A socket of all addresses answers on this one, too; one of loopback would not.
        host = "127.0.0.2" if each.ip in ("::", "0.0.0.0") else each.ip
        codes = codes_for_a_stranger(host, each.port)
        assert codes <= {"UNAUTHENTICATED", "UNIMPLEMENTED", "UNAVAILABLE"}, each
        guarded += "UNAUTHENTICATED" in codes
        page = page_for_a_stranger(host, each.port)
        assert page is None or page.startswith("# HELP "), each
    assert guarded > 5


def test_neither_tokens_nor_pictures_are_written_anywhere(lives_on, astronaut):
    secret = lives_on.token.split("_", 2)[2].encode()  # which may hold the separator, too
    folders = [lives_on.home, *Path("/tmp").glob(f"aufleet-{lives_on.process.pid}-*")]
    assert len(folders) == 2
    files = [
        file
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and file.name != "token"
    ]
    assert lives_on.home / "logs" / "access.log" in files
    for file in files:
        content = file.read_bytes()
        assert secret not in content, file
        assert astronaut[200:600] not in content, file


def test_sigterm_stops_everything(service):
    host, _, port = service.target.rpartition(":")
    assert service.processes()
    service.channel.close()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(STOP_TIMEOUT_S) == 0, service.output
    assert not service.ready_file.exists()
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0
    deadline = time.monotonic() + 10
    while service.processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert service.processes() == []
    assert "Traceback" not in service.output
    assert "rror" not in service.output
