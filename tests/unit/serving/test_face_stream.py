"""`AnalyzeStream` over a real gRPC server; the replicas answer as they are told."""

import asyncio
import math
from dataclasses import replace

import grpc
import numpy as np
import pytest

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.api.v1 import face_pb2
from aufleet.api.v1.face_analysis_service_pb2_grpc import FaceAnalysisServiceStub
from aufleet.errors import NotReadyError, OverloadedError
from aufleet.serving.config import Limits
from aufleet.serving.routing import Route
from aufleet.serving.tokens import TokenFile

from .conftest import PlainReplicas, encode

PHOTO = encode()


def config(**fields):
    return messages.AnalyzeStreamRequest(config=messages.StreamConfig(**fields))


def sent(time_s, encoded=PHOTO, **frame):
    frame = face_pb2.Frame(encoded=encoded, id=f"{time_s:g}", **frame)
    return messages.AnalyzeStreamRequest(frame=messages.StreamFrame(frame=frame, time_s=time_s))


def ask(open_edge, *requests, **edge):
    """Send requests and return (answers, error or None, edge)."""

    async def scenario():
        async with open_edge(**edge) as opened:
            return *await asyncio.to_thread(exchange, opened, requests), opened

    return asyncio.run(scenario())


def exchange(edge, requests):
    """Send all and read all; grpc.aio would hide the code of a call that ends while it sends."""
    answers = []
    with grpc.insecure_channel(edge.target) as channel:
        stub = FaceAnalysisServiceStub(channel)
        stream = stub.AnalyzeStream(iter(requests), metadata=edge.metadata, timeout=20)
        try:
            for answer in stream:
                answers.append(answer)
        except grpc.RpcError as error:
            return answers, error
    return answers, None


class Hasty(PlainReplicas):
    """The later a frame comes, the sooner it is answered; notes how many are under way."""

    def __init__(self, *args, scores=(), **kwargs):
        super().__init__(*args, **kwargs)
        self.scores, self.num_calls, self.now, self.most = scores, 0, 0, 0

    async def _analyze(self, faces, *, attention, timeout_s, turn=""):
        number, self.num_calls = self.num_calls, self.num_calls + 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.04 - 0.01 * (number % 4))
            answers = await super()._analyze(faces, attention=attention, timeout_s=timeout_s)
        finally:
            self.now -= 1
        if self.scores:
            answers.probabilities[:] = self.scores[number]
        return answers


def test_answers_come_in_the_order_of_the_frames(open_edge):
    requests = [config(), *[sent(k / 30) for k in range(20)]]
    replicas = Hasty()
    answers, error, edge = ask(open_edge, *requests, replicas=replicas)
    assert error is None
    assert [answer.time_s for answer in answers] == [k / 30 for k in range(20)]
    assert [answer.frame.id for answer in answers] == [f"{k / 30:g}" for k in range(20)]
    answer = answers[-1]
    assert (answer.model, answer.version, answer.request_id) == ("faces", "1", "test-1")
    assert answer.research_use_only
    assert set(answer.timings_ms) == {"decode", "network", "total"}
    assert [unit.unit for unit in answer.frame.faces[0].units] == [1, 12]
    assert 1 < replicas.most <= Limits().max_stream_frames
    # One line for the whole stream.
    assert [(line["code"], line["model"], line["caller"]) for line in edge.log] == [
        ("OK", "faces:1", "caller")
    ]


def test_a_frame_that_cannot_be_used_does_not_end_the_stream(open_edge):
    requests = [config(), sent(0), sent(1, b"no picture"), sent(2, b""), sent(3)]
    answers, error, _ = ask(open_edge, *requests)
    assert error is None
    assert [answer.frame.status for answer in answers] == [
        face_pb2.FRAME_STATUS_OK,
        face_pb2.FRAME_STATUS_NOT_AN_IMAGE,
        face_pb2.FRAME_STATUS_NOT_AN_IMAGE,
        face_pb2.FRAME_STATUS_OK,
    ]
    assert "not a picture" in answers[1].frame.message


@pytest.mark.parametrize("asked", [False, True])
def test_attention_comes_only_on_request(open_edge, asked):
    answers, _, _ = ask(open_edge, config(include_attention=asked), sent(0))
    assert answers[0].frame.faces[0].HasField("attention_png") is asked


def test_units_are_smoothed_on_request(open_edge):
    requests = [config(smoothing_time_s=2.0), sent(0), sent(1), sent(2)]
    replicas = Hasty(scores=[0.0, 1.0, 1.0])
    answers, _, _ = ask(open_edge, *requests, replicas=replicas)
    units = [answer.frame.faces[0].units[0] for answer in answers]
    expected = [1 - math.exp(-k / 2) for k in range(3)]
    np.testing.assert_allclose([unit.probability for unit in units], expected, rtol=1e-5)
    # Judged after smoothing: 0.5 is the threshold.
    assert [unit.active for unit in units] == [False, False, True]


def test_grades_are_smoothed_and_the_side_with_them(open_edge):
    first, then = [0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]
    replicas = Hasty("palsy", scores=[first, then, then, then])
    requests = [config(smoothing_time_s=1.0), sent(0), sent(0.5), sent(1), sent(4)]
    answers, _, _ = ask(open_edge, *requests, replicas=replicas)
    palsies = [answer.frame.faces[0].palsy for answer in answers]
    assert [palsy.grade for palsy in palsies] == [
        face_pb2.PALSY_GRADE_NORMAL,
        face_pb2.PALSY_GRADE_NORMAL,
        face_pb2.PALSY_GRADE_HIGH,
        face_pb2.PALSY_GRADE_HIGH,
    ]
    assert palsies[0].side == face_pb2.SIDE_PATIENT_LEFT
    for palsy in palsies:
        named = palsy.probabilities
        assert named.normal + named.low + named.medium + named.high == pytest.approx(1)


WRONG = {
    "no message": ([], "config: the first message does not configure"),
    "a frame first": ([sent(0)], "config: the first message does not configure"),
    "an empty message": ([messages.AnalyzeStreamRequest()], "config: the first message"),
    "a second config": ([config(), sent(0), config()], "config: only the first message"),
    "nothing later": ([config(), sent(0), messages.AnalyzeStreamRequest()], "frame: only the"),
    "time goes back": ([config(), sent(0.4), sent(0.2)], "frame.time_s: 0.2 comes after 0.4"),
    "no time": ([config(), sent(0), sent(math.nan)], "frame.time_s: nan is no time"),
    "the same time": ([config(smoothing_time_s=1), sent(1), sent(1)], "frame.time_s: 1 comes twi"),
    "negative smoothing": ([config(smoothing_time_s=-1)], "config.smoothing_time_s: -1"),
    "endless smoothing": ([config(smoothing_time_s=math.inf)], "config.smoothing_time_s: inf"),
    "too large": ([config(), sent(0), sent(1, b"x" * 501)], "frame.frame.encoded: 501 bytes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_message_names_the_field_after_the_answers_before_it(open_edge, name):
    requests, words = WRONG[name]
    answers, error, edge = ask(open_edge, *requests, limits=Limits(max_frame_bytes=500))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith(words)
    assert "\n" not in error.details()
    assert len(answers) == max(0, len(requests) - 2)
    assert edge.log[0]["code"] == "INVALID_ARGUMENT"


def test_the_same_time_twice_is_fine_where_nothing_is_smoothed(open_edge):
    answers, error, _ = ask(open_edge, config(), sent(1), sent(1))
    assert (len(answers), error) == (2, None)


def test_bytes_that_are_no_message_are_the_callers_mistake(open_edge):
    async def scenario():
        async with open_edge() as edge:
            method = "/aufleet.api.v1.FaceAnalysisService/AnalyzeStream"
            stream = edge.channel.stream_stream(method)(
                iter([b"\xff\xff\xff"]), metadata=edge.metadata, timeout=10
            )
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stream.read()
            return error.value

    error = asyncio.run(scenario())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "is not the message" in error.details()


def test_an_unknown_model_is_named(open_edge):
    _, error, _ = ask(open_edge, config(model="other"), sent(0))
    assert error.code() is grpc.StatusCode.NOT_FOUND


class Busy(PlainReplicas):
    """Refuses some frames, once each."""

    def __init__(self, *errors):
        super().__init__()
        self.errors = list(errors)

    async def _analyze(self, faces, *, attention, timeout_s, turn=""):
        if self.errors:
            raise self.errors.pop()
        return await super()._analyze(faces, attention=attention, timeout_s=timeout_s)


def test_a_frame_waits_where_replicas_are_busy_or_restart(open_edge):
    replicas = Busy(OverloadedError("full"), NotReadyError("gone"), OverloadedError("full"))
    answers, error, _ = ask(open_edge, config(), sent(0), sent(1), replicas=replicas)
    assert error is None
    assert [answer.frame.status for answer in answers] == [1, 1]


def test_replicas_that_stay_away_end_the_stream(open_edge):
    replicas = PlainReplicas(error=NotReadyError("no replica can answer just now"))
    _, error, _ = ask(
        open_edge, config(), sent(0), replicas=replicas, limits=Limits(max_call_s=0.2)
    )
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_our_own_fault_shows_no_reason(open_edge):
    replicas = PlainReplicas(error=ValueError("/secret"))
    _, error, edge = ask(open_edge, config(), sent(0), replicas=replicas)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "internal error, request id test-1"
    assert any("/secret" in str(line) for line in edge.log)


@pytest.mark.parametrize(
    ("limits", "code", "words"),
    [
        (Limits(max_stream_s=0.3), "DEADLINE_EXCEEDED", "the deadline passed"),
        (Limits(max_stream_idle_s=0.2), "DEADLINE_EXCEEDED", "brought nothing for 0.2 s"),
    ],
)
def test_a_stream_does_not_last_for_ever(open_edge, limits, code, words):
    async def scenario():
        async with open_edge(limits=limits) as edge:
            stream = edge.faces.AnalyzeStream(metadata=edge.metadata)
            await stream.write(config())
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stream.read()
            return error.value

    error = asyncio.run(scenario())
    assert error.code().name == code
    assert words in error.details()


@pytest.mark.parametrize("way", ["cancelled", "deadline"])
def test_work_is_dropped_when_the_caller_goes(open_edge, way):
    replicas = PlainReplicas(delay_s=30.0)

    async def scenario():
        async with open_edge(replicas) as edge:
            timeout = 1.0 if way == "deadline" else None
            stream = edge.faces.AnalyzeStream(metadata=edge.metadata, timeout=timeout)
            await stream.write(config())
            for k in range(3):
                await stream.write(sent(k))
            if way == "cancelled":
                await asyncio.sleep(0.1)
                stream.cancel()
            async with asyncio.timeout(10):
                while replicas.cancelled < 3:
                    await asyncio.sleep(0.01)
                while not edge.log:
                    await asyncio.sleep(0.01)
            return edge.log[0]["code"]

    # By the caller's deadline, the caller's going and the gateway's own clock run a race.
    assert asyncio.run(scenario()) in {"cancelled": {"CANCELLED"}}.get(
        way, {"CANCELLED", "DEADLINE_EXCEEDED"}
    )


class Wordy(PlainReplicas):
    """Its answers are too large for the transport's own buffers."""

    num_calls = 0

    async def _analyze(self, faces, *, attention, timeout_s, turn=""):
        self.num_calls += 1
        answers = await super()._analyze(faces, attention=attention, timeout_s=timeout_s)
        return replace(answers, attention_png=(b"x" * 1_000_000,))


def test_a_slow_reader_is_not_read_and_ends_after_a_while(open_edge):
    replicas = Wordy()

    async def scenario():
        async with open_edge(replicas, limits=Limits(max_stream_idle_s=0.5)) as edge:
            stream = edge.faces.AnalyzeStream(metadata=edge.metadata)
            await stream.write(config(include_attention=True))

            async def send():
                for k in range(500):
                    await stream.write(sent(k))

            sending = asyncio.create_task(send())
            async with asyncio.timeout(20):
                while not edge.log:
                    await asyncio.sleep(0.05)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            models = await edge.faces.ListModels(
                messages.ListModelsRequest(), metadata=edge.metadata
            )
            with pytest.raises(grpc.aio.AioRpcError) as error:
                async for _ in stream:
                    pass
            return edge.log[0]["code"], len(models.models), error.value.code().name

    # It does not take the code either, so its stream is reset.
    logged, num_models, code = asyncio.run(scenario())
    assert (logged, num_models) == ("DEADLINE_EXCEEDED", 1)
    assert code != "OK"
    assert replicas.num_calls < 100


def test_streams_have_room_of_their_own(open_edge):
    async def scenario():
        async with open_edge(limits=Limits(max_streams=1, max_calls=1)) as edge:
            first = edge.faces.AnalyzeStream(metadata=edge.metadata)
            await first.write(config())
            await first.write(sent(0))
            await first.read()
            second = edge.faces.AnalyzeStream(metadata=edge.metadata)
            code = (await second.code()).name
            # A call still finds room.
            models = await edge.faces.ListModels(
                messages.ListModelsRequest(), metadata=edge.metadata
            )
            await first.done_writing()
            return code, len(models.models), (await first.code()).name

    assert asyncio.run(scenario()) == ("RESOURCE_EXHAUSTED", 1, "OK")


def test_a_revoked_token_ends_its_open_stream(open_edge, tmp_path, monkeypatch):
    monkeypatch.setattr("aufleet.serving.guard.ADMISSION_S", 0.0)

    async def scenario():
        async with open_edge() as edge:
            stream = edge.faces.AnalyzeStream(metadata=edge.metadata)
            await stream.write(config())
            await stream.write(sent(0))
            await stream.read()
            TokenFile(tmp_path / "tokens.json").revoke("caller")
            await stream.write(sent(1))
            return (await stream.code()).name

    assert asyncio.run(scenario()) == "UNAUTHENTICATED"


def test_a_stream_follows_an_alias_to_another_version(open_edge):
    old, new = PlainReplicas(), PlainReplicas()

    async def scenario():
        async with open_edge(models={"old": old, "new": new}) as edge:

            def route(version, aliases):
                name = "old" if version == "1" else "new"
                return Route(
                    name="faces", version=version, aliases=aliases, task="au", application=name
                )

            await edge.directory.replace([route("1", ("champion",))])
            await edge.directory.await_ready()
            stream = edge.faces.AnalyzeStream(metadata=edge.metadata)
            await stream.write(config(model="faces", version="champion"))
            versions = []
            for k in range(2):
                await stream.write(sent(k))
                versions.append((await stream.read()).version)
                await edge.directory.replace([route("1", ()), route("2", ("champion",))])
                await edge.directory.await_ready()
            stream.cancel()
            return versions

    assert asyncio.run(scenario()) == ["1", "2"]
