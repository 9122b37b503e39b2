"""Streams and videos through both clients, against a real gRPC server that loses connections."""

import asyncio
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from aufleet.client import AsyncClient, Client, RejectedError, RetryPolicy, UnavailableError
from aufleet.client.frames import MAX_UNANSWERED
from aufleet.errors import ConfigError

FAST = RetryPolicy(total_s=5.0, first_pause_s=0.01, longest_pause_s=0.02)
UNAVAILABLE, CANCELLED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED
TIMES = [k / 10 for k in range(60)]


def open_client(server, *others, retry=FAST):
    target = ",".join(each.target for each in (server, *others))
    return Client(target, token="secret", root_certificates=server.ca_file, retry=retry)


def frames(times=TIMES, *, read=None):
    for time_s in times:
        if read is not None:
            read.append(time_s)
        yield time_s, b"picture"


def stream(kind, server, source, *others, retry=FAST, **wishes):
    """Return the results of a stream through one of the clients."""
    if kind == "sync":
        with open_client(server, *others, retry=retry) as client:
            return list(client.analyze_stream(source, **wishes))

    async def run():
        target = ",".join(each.target for each in (server, *others))
        async with AsyncClient(
            target, token="secret", root_certificates=server.ca_file, retry=retry
        ) as client:
            return [result async for result in client.analyze_stream(source, **wishes)]

    return asyncio.run(run())


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


def test_each_frame_has_its_result_in_order(kind, face_server):
    results = stream(kind, face_server, frames(), model="demo", smoothing_time_s=0.5)
    assert [result.time_s for result in results] == TIMES
    assert {(result.status, result.model, result.version) for result in results} == {
        ("OK", "demo", "3")
    }
    config = face_server.requests[0].config
    assert (config.model, config.smoothing_time_s) == ("demo", 0.5)


@pytest.mark.parametrize("code", [UNAVAILABLE, CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_a_lost_stream_is_taken_up_where_it_broke_off(kind, face_server, code):
    face_server.stream_breaks = [(7, code), (0, code), (20, code)]
    results = stream(kind, face_server, frames())
    assert [result.time_s for result in results] == TIMES
    assert len({metadata["x-request-id"] for metadata in face_server.metadata}) == 1
    first, _, third, fourth = face_server.stream_times
    # What was answered is not sent again; answers that were lost on the way are asked for again.
    assert third[0] <= first[-1] + 0.11
    assert fourth[-1] == TIMES[-1]


def test_smoothed_answers_are_taken_up_with_the_frames_that_still_count(kind, face_server):
    face_server.stream_breaks = [(40, UNAVAILABLE)]
    results = stream(kind, face_server, frames(), smoothing_time_s=0.1)
    assert [result.time_s for result in results] == TIMES
    first, second = face_server.stream_times
    # Ten time constants before the first frame that had no answer.
    assert second[0] <= first[-1] - 0.9
    assert second[0] > 1.0


def test_another_gateway_takes_the_stream_up(kind, face_server, other_face_server):
    for server in (face_server, other_face_server):
        server.stream_breaks = [(5, UNAVAILABLE)]
    results = stream(kind, face_server, frames(), other_face_server)
    assert [result.time_s for result in results] == TIMES
    assert face_server.stream_times
    assert other_face_server.stream_times


def test_a_wrong_request_is_not_sent_again(kind, face_server):
    face_server.failures = [(grpc.StatusCode.NOT_FOUND, "model 'x' is not served")] * 50
    with pytest.raises(RejectedError, match="model 'x' is not served"):
        stream(kind, face_server, frames(), model="x")
    # grpc.aio loses a code that comes while it writes: then it is asked for again.
    assert len(face_server.requests) <= (1 if kind == "sync" else 10)


def test_a_gateway_that_stays_away_is_given_up(kind, face_server):
    face_server.stop()
    retry = RetryPolicy(total_s=0.3, first_pause_s=0.05)
    with pytest.raises(UnavailableError):
        stream(kind, face_server, frames(), retry=retry)


def test_what_reading_the_frames_raises_is_raised(kind, face_server):
    def broken():
        yield from frames(TIMES[:3])
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="the camera is gone"):
        stream(kind, face_server, broken())


def test_no_frame_is_no_result(kind, face_server):
    assert stream(kind, face_server, iter(())) == []


def test_frames_are_read_only_a_few_ahead_of_the_answers(face_server):
    read = []
    with open_client(face_server) as client:
        results = client.analyze_stream(frames([float(k) for k in range(1000)], read=read))
        for _ in range(3):
            next(results)
        results.close()
    assert len(read) <= MAX_UNANSWERED + 4


def test_an_asynchronous_camera_is_read_as_it_comes(face_server):
    async def run():
        async def camera():
            for time_s in TIMES[:9]:
                await asyncio.sleep(0)
                yield time_s, b"picture"

        async with AsyncClient(
            face_server.target, token="t", root_certificates=face_server.ca_file
        ) as client:
            return [result.time_s async for result in client.analyze_stream(camera())]

    assert asyncio.run(run()) == TIMES[:9]


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    import cv2
    import numpy as np

    file = tmp_path_factory.mktemp("video") / "walk.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for k in range(25):
        writer.write(np.full((48, 64, 3), 10 * k, np.uint8))
    writer.release()
    return file


def test_a_video_is_analysed_with_its_own_times(face_server, video, capsys):
    with open_client(face_server) as client:
        results = list(client.analyze_video(video, progress=True))
    assert [result.time_s for result in results] == pytest.approx([k / 25 for k in range(25)])
    assert "walk.mp4" in capsys.readouterr().err


def test_a_video_in_memory_is_analysed(face_server, video):
    with open_client(face_server) as client:
        assert len(list(client.analyze_video(video.read_bytes()))) == 25


def test_a_video_can_be_thinned_out(face_server, video):
    async def run():
        async with AsyncClient(
            face_server.target, token="t", root_certificates=face_server.ca_file
        ) as client:
            return [each.time_s async for each in client.analyze_video(video, max_rate_hz=5)]

    assert asyncio.run(run()) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8], abs=0.05)


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing.mp4", "there is no such file"), ("test.txt", "is no video that can be read")],
)
def test_a_file_that_is_no_video_is_named(face_server, tmp_path, name, words):
    (tmp_path / "test.txt").write_text("no video")
    with open_client(face_server) as client, pytest.raises(ConfigError, match=words):
        next(client.analyze_video(tmp_path / name))


def test_without_opencv_or_rich_it_says_what_to_install(video):
    code = f"""
import sys
from aufleet.client import Client
assert not {{"cv2", "rich", "numpy"}} & set(sys.modules)
client = Client("127.0.0.1:1", token="t")
sys.modules["rich.console"] = None
for missing in ("rich", "cv2"):
    sys.modules[missing] = None
    try:
        next(client.analyze_video({str(video)!r}, progress=True))
    except Exception as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rich, cv2 = done.stdout.splitlines()
    assert rich == "a progress bar needs rich, which is not here: pip install 'aufleet[video]'"
    assert cv2 == "reading videos needs OpenCV, which is not here: pip install 'aufleet[video]'"
