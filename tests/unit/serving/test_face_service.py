import asyncio

import grpc
import numpy as np
import pytest
from google.rpc.status_pb2 import Status

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.api.v1 import face_pb2, model_pb2
from aufleet.errors import DeadlineError, OverloadedError, StoreCredentialsError
from aufleet.serving.config import Limits
from aufleet.serving.tokens import ANALYZE, READ_MODELS, TokenFile

from .conftest import PlainReplicas, encode

PHOTO = face_pb2.Frame(encoded=encode(), id="photo")
NOT_AN_IMAGE = face_pb2.Frame(encoded=b"not a picture at all")


def png_header(width, height):
    start = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    return face_pb2.Frame(encoded=start + width.to_bytes(4) + height.to_bytes(4) + b"\0" * 9)


MANY_PIXELS, LONG = png_header(10_000, 5_000), png_header(60_000, 1)


def detect(*frames, **fields):
    return messages.DetectActionUnitsRequest(frames=frames, **fields)


def call(open_edge, request, *, method="DetectActionUnits", timeout=10.0, **edge):
    """Send one request and return (response or error, edge)."""

    async def scenario():
        async with open_edge(**edge) as opened:
            try:
                send = getattr(opened.faces, method)
                return await send(request, metadata=opened.metadata, timeout=timeout), opened
            except grpc.aio.AioRpcError as error:
                return error, opened

    return asyncio.run(scenario())


def test_a_photo_is_answered_in_its_own_pixels(open_edge):
    response, _ = call(open_edge, detect(PHOTO))
    assert (response.model, response.version, response.request_id) == ("faces", "1", "test-1")
    assert response.research_use_only
    assert set(response.timings_ms) == {"decode", "network", "total"}
    frame = response.frames[0]
    assert (frame.id, frame.status) == ("photo", face_pb2.FRAME_STATUS_OK)
    face = frame.faces[0]
    # The network's (100, 90) of the aligned frame, taken back by the aligner's map.
    assert {(point.x, point.y) for point in face.landmarks} == {(45.0, 35.0)}
    assert (face.box.x, face.box.width) == (1.0, 30.0)
    assert [(unit.unit, unit.active) for unit in face.units] == [(1, True), (12, False)]
    assert face.units[1].threshold == pytest.approx(0.7)


def test_without_predicted_landmarks_the_aligners_are_sent(open_edge):
    response, _ = call(open_edge, detect(PHOTO), replicas=PlainReplicas(landmarks=False))
    assert {(p.x, p.y) for p in response.frames[0].faces[0].landmarks} == {(5.0, 5.0)}


def test_an_aligned_frame_is_not_searched(open_edge):
    frame = face_pb2.Frame(aligned=encode(200, 200))
    response, _ = call(open_edge, detect(frame), replicas=PlainReplicas(faces=0))
    face = response.frames[0].faces[0]
    assert (face.box.width, face.box.height) == (200, 200)
    assert {(point.x, point.y) for point in face.landmarks} == {(100.0, 90.0)}


@pytest.mark.parametrize(("selection", "count"), [("LARGEST", 1), ("UNSPECIFIED", 1), ("ALL", 3)])
def test_the_largest_face_or_all(open_edge, selection, count):
    frame = face_pb2.Frame(encoded=encode(), faces=f"FACE_SELECTION_{selection}")
    response, _ = call(open_edge, detect(frame), replicas=PlainReplicas(faces=3))
    assert len(response.frames[0].faces) == count


def test_only_the_asked_units(open_edge):
    response, _ = call(open_edge, detect(PHOTO, units=[12]))
    assert [unit.unit for unit in response.frames[0].faces[0].units] == [12]


def test_attention_comes_only_on_request(open_edge):
    asked, _ = call(open_edge, detect(PHOTO, include_attention=True))
    assert asked.frames[0].faces[0].attention_png == b"png"


def test_attention_does_not_come_unasked(open_edge):
    response, _ = call(open_edge, detect(PHOTO))
    assert not response.frames[0].faces[0].HasField("attention_png")


def test_a_photo_without_a_face_is_an_answer(open_edge):
    response, _ = call(open_edge, detect(PHOTO), replicas=PlainReplicas(faces=0))
    frame = response.frames[0]
    assert frame.status == face_pb2.FRAME_STATUS_NO_FACE
    assert "no face" in frame.message


def test_each_of_several_frames_has_its_own_status(open_edge):
    response, _ = call(open_edge, detect(PHOTO, NOT_AN_IMAGE, face_pb2.Frame(), MANY_PIXELS))
    assert [frame.status for frame in response.frames] == [
        face_pb2.FRAME_STATUS_OK,
        face_pb2.FRAME_STATUS_NOT_AN_IMAGE,
        face_pb2.FRAME_STATUS_NOT_AN_IMAGE,
        face_pb2.FRAME_STATUS_TOO_MANY_PIXELS,
    ]
    assert all(frame.message for frame in response.frames[1:])


SMALL = Limits(max_frames=2, max_frame_bytes=500, max_request_bytes=600)
REFUSED = {
    "nothing": (detect(), "frames: the request holds no frame"),
    "no content": (detect(face_pb2.Frame()), "frames[0].encoded: the picture is empty"),
    "not an image": (detect(NOT_AN_IMAGE), "frames[0].encoded: the bytes are not a picture"),
    "too long": (detect(LONG), "frames[0].encoded: the picture has 60000 x 1 pixels"),
    "50 megapixels": (detect(MANY_PIXELS), "frames[0].encoded: the picture has 10000 x 5000"),
    "aligned": (detect(face_pb2.Frame(aligned=b"x")), "frames[0].aligned: the bytes are not"),
    "too many frames": (detect(PHOTO, PHOTO, PHOTO), "frames: 3 are too many"),
    "too large": (detect(face_pb2.Frame(encoded=b"x" * 501)), "frames[0].encoded: 501 bytes"),
    "too large together": (detect(*[face_pb2.Frame(encoded=b"x" * 400)] * 2), "frames: 800 bytes"),
    "unknown unit": (detect(PHOTO, units=[99]), "units: the model does not detect 99"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_request_names_the_field(open_edge, name):
    request, words = REFUSED[name]
    error, _ = call(open_edge, request, limits=SMALL)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith(words)
    assert "\n" not in error.details()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "other"}, "NOT_FOUND"),
        ({"version": "9"}, "NOT_FOUND"),
        ({"model": "palsy"}, "FAILED_PRECONDITION"),
    ],
)
def test_models_that_cannot_answer(open_edge, fields, code):
    models = {"faces": PlainReplicas(), "palsy": PlainReplicas("palsy")}
    error, _ = call(open_edge, detect(PHOTO, **fields), models=models)
    assert error.code().name == code
    assert "faces:1 (action units), palsy:1 (palsy grades)" in error.details()


def test_a_palsy_is_graded_and_pooled(open_edge):
    request = messages.GradePalsyRequest(frames=[PHOTO, NOT_AN_IMAGE, PHOTO])
    response, _ = call(open_edge, request, method="GradePalsy", replicas=PlainReplicas("palsy"))
    palsy = response.frames[0].faces[0].palsy
    assert palsy.grade == face_pb2.PALSY_GRADE_MEDIUM
    assert (palsy.house_brackmann_min, palsy.house_brackmann_max) == (3, 4)
    assert palsy.probabilities.medium == pytest.approx(0.6)
    assert palsy.side == face_pb2.SIDE_PATIENT_LEFT
    assert response.num_frames_used == 2
    assert response.pooled.probabilities.medium == pytest.approx(0.6)
    assert not response.pooled.HasField("side")


def test_one_frame_has_no_pooled_grade(open_edge):
    request = messages.GradePalsyRequest(frames=[PHOTO])
    response, _ = call(open_edge, request, method="GradePalsy", replicas=PlainReplicas("palsy"))
    assert not response.HasField("pooled")
    assert response.num_frames_used == 1


def test_a_mirrored_frame_swaps_the_side(open_edge):
    frame = face_pb2.Frame(encoded=encode(), mirrored=True)
    request = messages.GradePalsyRequest(frames=[frame])
    response, _ = call(open_edge, request, method="GradePalsy", replicas=PlainReplicas("palsy"))
    assert response.frames[0].faces[0].palsy.side == face_pb2.SIDE_PATIENT_RIGHT


def test_a_face_that_must_not_be_judged_has_its_reason_and_no_answer(open_edge):
    replicas = PlainReplicas("palsy", ungradable={0})
    request = messages.GradePalsyRequest(frames=[PHOTO, PHOTO])
    response, _ = call(open_edge, request, method="GradePalsy", replicas=replicas)
    frame = response.frames[0]
    assert frame.status == face_pb2.FRAME_STATUS_UNGRADABLE
    assert frame.ungradable_reason == face_pb2.UNGRADABLE_REASON_POSE
    assert frame.message == "the head is turned too far"
    assert frame.faces[0].box.width == 30
    assert len(frame.faces[0].landmarks) == 49
    assert not frame.faces[0].HasField("palsy")
    assert (response.num_frames_used, response.HasField("pooled")) == (0, False)


def test_it_is_answered_on_request_and_still_says_so(open_edge):
    frame = face_pb2.Frame(encoded=encode(), include_ungradable=True)
    response, _ = call(open_edge, detect(frame), replicas=PlainReplicas(ungradable={0}))
    assert response.frames[0].status == face_pb2.FRAME_STATUS_UNGRADABLE
    assert [unit.unit for unit in response.frames[0].faces[0].units] == [1, 12]


@pytest.mark.parametrize("turned", [0, 1])
def test_of_several_faces_each_says_whether_it_is_judged(open_edge, turned):
    frame = face_pb2.Frame(encoded=encode(), faces=face_pb2.FACE_SELECTION_ALL)
    replicas = PlainReplicas("palsy", faces=2, ungradable={turned})
    request = messages.GradePalsyRequest(frames=[frame, frame])
    response, _ = call(open_edge, request, method="GradePalsy", replicas=replicas)
    assert response.frames[0].status == face_pb2.FRAME_STATUS_OK
    faces = response.frames[0].faces
    assert [face.HasField("palsy") for face in faces] == [turned == 1, turned == 0]
    assert faces[turned].ungradable_reason == face_pb2.UNGRADABLE_REASON_POSE
    # The smaller face may be somebody else: it is never pooled in the larger one's place.
    assert response.num_frames_used == (2 if turned == 1 else 0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_regions_come_from_a_trained_head_by_the_patients_own_sides(open_edge, mirrored):
    frame = face_pb2.Frame(encoded=encode(), mirrored=mirrored)
    request = messages.GradePalsyRequest(frames=[frame])
    replicas = PlainReplicas("palsy", regions=True)
    response, _ = call(open_edge, request, method="GradePalsy", replicas=replicas)
    values = {each.region: each.impairment for each in response.frames[0].faces[0].palsy.regions}
    assert len(values) == 12
    # The network's first region is the brow at the picture's left.
    first = "brow_left" if mirrored else "brow_right"
    assert values[first] == 0.0
    assert values["mouth_corner_left" if mirrored else "mouth_corner_right"] == pytest.approx(
        8 / 12
    )


def test_without_a_trained_head_there_are_no_regions(open_edge):
    request = messages.GradePalsyRequest(frames=[PHOTO])
    response, _ = call(open_edge, request, method="GradePalsy", replicas=PlainReplicas("palsy"))
    assert not response.frames[0].faces[0].palsy.regions


def test_models_are_listed_by_task(open_edge):
    models = {"faces": PlainReplicas(), "palsy": PlainReplicas("palsy")}
    request = messages.ListModelsRequest(task=model_pb2.TASK_PALSY)
    response, _ = call(open_edge, request, method="ListModels", models=models)
    assert [(model.name, model.ready) for model in response.models] == [("palsy", True)]


def test_a_model_is_described(open_edge):
    response, _ = call(open_edge, messages.GetModelRequest(model="faces"), method="GetModel")
    assert list(response.model.units) == [1, 12]
    assert response.model.task == model_pb2.TASK_ACTION_UNITS


def test_a_full_queue_tells_when_to_come_again(open_edge):
    error, _ = call(open_edge, detect(PHOTO), replicas=PlainReplicas(error=OverloadedError("full")))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailing = dict(error.trailing_metadata())
    details = Status.FromString(trailing["grpc-status-details-bin"]).details
    assert details[0].type_url == "type.googleapis.com/google.rpc.RetryInfo"
    assert trailing["retry-delay-ms"] == "200"


def test_too_many_calls_at_once_are_sent_away(open_edge):
    async def scenario():
        replicas = PlainReplicas(delay_s=0.3)
        async with open_edge(replicas, limits=Limits(max_calls=2)) as edge:
            calls = [
                edge.faces.DetectActionUnits(detect(PHOTO), metadata=edge.metadata) for _ in "abc"
            ]
            return [
                result.code().name if isinstance(result, grpc.aio.AioRpcError) else "OK"
                for result in await asyncio.gather(*calls, return_exceptions=True)
            ]

    assert sorted(asyncio.run(scenario())) == ["OK", "OK", "RESOURCE_EXHAUSTED"]


@pytest.mark.parametrize("error", [ValueError("/secret"), StoreCredentialsError("/secret")])
def test_our_own_fault_shows_no_reason(open_edge, error):
    failed, edge = call(open_edge, detect(PHOTO), replicas=PlainReplicas(error=error))
    assert failed.code() is grpc.StatusCode.INTERNAL
    assert failed.details() == "internal error, request id test-1"
    # Whoever runs the service finds it in the log.
    assert any("/secret" in str(line) for line in edge.log)


def test_work_is_dropped_when_the_servers_limit_passes(open_edge):
    replicas = PlainReplicas(delay_s=5.0)
    error, _ = call(open_edge, detect(PHOTO), replicas=replicas, limits=Limits(max_call_s=0.1))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert replicas.cancelled == 1


def test_work_is_dropped_when_the_caller_goes(open_edge):
    replicas = PlainReplicas(delay_s=5.0)

    async def scenario():
        async with open_edge(replicas) as edge:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await edge.faces.DetectActionUnits(
                    detect(PHOTO), metadata=edge.metadata, timeout=0.1
                )
            while not replicas.cancelled:
                await asyncio.sleep(0.01)
            return error.value.code()

    assert asyncio.run(scenario()) is grpc.StatusCode.DEADLINE_EXCEEDED


def test_an_analyzers_missed_deadline_is_a_missed_deadline(open_edge):
    error, _ = call(open_edge, detect(PHOTO), replicas=PlainReplicas(error=DeadlineError("late")))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


METHOD = "/aufleet.api.v1.FaceAnalysisService/DetectActionUnits"


def raw_call(open_edge, message, *, metadata):
    """Send bytes and return (code, details, trailing metadata)."""

    async def scenario():
        async with open_edge() as edge:
            sent = metadata(edge) if callable(metadata) else metadata
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await edge.channel.unary_unary(METHOD)(message, metadata=sent, timeout=10)
            failed = error.value
            return failed.code().name, failed.details(), dict(failed.trailing_metadata()), edge.log

    return asyncio.run(scenario())


def test_bytes_that_are_no_message_are_the_callers_mistake(open_edge):
    code, details, _, _ = raw_call(open_edge, b"\xff\xff\xff", metadata=lambda edge: edge.metadata)
    assert code == "INVALID_ARGUMENT"
    assert "is not the message" in details


@pytest.mark.parametrize("token", [None, "", "Bearer x", "Bearer auf_0123456789ab_" + "x" * 43])
def test_no_or_a_wrong_token_is_refused_and_logged_without_it(open_edge, token):
    metadata = () if token is None else (("authorization", token),)
    code, details, trailing, log = raw_call(open_edge, b"anything", metadata=metadata)
    assert code == "UNAUTHENTICATED"
    assert "\n" not in details
    assert trailing["x-request-id"]
    assert [line["code"] for line in log] == ["UNAUTHENTICATED"]
    assert "xxxx" not in str(log)


def test_a_token_without_the_scope_is_refused(open_edge, tmp_path):
    def reader(edge):
        tokens = TokenFile(tmp_path / "tokens.json")
        return (
            ("authorization", f"Bearer {tokens.create('r', scopes=[READ_MODELS], expires_days=1)}"),
        )

    code, details, _, _ = raw_call(open_edge, b"", metadata=reader)
    assert code == "PERMISSION_DENIED"
    assert ANALYZE in details


@pytest.mark.parametrize(
    ("sent", "kept"), [("job-7:a.b", True), ('spaces and "quotes"', False), ("x" * 65, False)]
)
def test_a_sensible_request_id_is_kept_and_echoed(open_edge, sent, kept):
    async def scenario():
        async with open_edge() as edge:
            metadata = (edge.metadata[0], ("x-request-id", sent))
            under_way = edge.faces.ListModels(messages.ListModelsRequest(), metadata=metadata)
            response = await under_way
            return response.request_id, dict(await under_way.trailing_metadata())["x-request-id"]

    answered, echoed = asyncio.run(scenario())
    assert answered == echoed
    assert (answered == sent) is kept


def test_the_log_names_call_caller_code_and_version_only(open_edge):
    answer, edge = call(open_edge, detect(PHOTO))
    line = edge.log[0]
    assert set(line) == {
        *("event", "timestamp", "method", "code", "request_id", "caller", "model", "ms")
    }
    assert line["model"] == f"{answer.model}:{answer.version}"
    assert (line["method"], line["code"], line["caller"]) == (METHOD, "OK", "caller")


def test_probabilities_do_not_change_on_the_way(open_edge):
    response, _ = call(open_edge, detect(PHOTO))
    np.testing.assert_allclose(
        [unit.probability for unit in response.frames[0].faces[0].units], [0.6, 0.6], rtol=1e-6
    )
