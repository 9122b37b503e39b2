import asyncio

import cv2
import numpy as np
import pytest
import skimage.data

from aufleet.data.faces import FoundFace
from aufleet.errors import DeadlineError, FrameError, OverloadedError
from aufleet.serving.aligner import Aligner

from .conftest import encode


@pytest.fixture(scope="module")
def aligner():
    return Aligner(max_pixels=1_000_000, max_waiting=2)


@pytest.fixture(scope="module")
def photo():
    frame = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", frame)[1].tobytes()


def locate(aligner, encoded, *, every_face=False, timeout_s=10.0):
    return asyncio.run(aligner.locate(encoded, every_face=every_face, timeout_s=timeout_s))


def test_the_astronaut_is_found_and_aligned(aligner, photo):
    located = locate(aligner, photo)
    (face,) = located.faces
    assert face.aligned.shape == (200, 200, 3)
    # Where the face lies by eye.
    np.testing.assert_allclose(face.box, (180, 72, 90, 106), atol=12)
    eyes = face.landmarks[19:31] @ face.to_aligned[:, :2].T + face.to_aligned[:, 2]
    np.testing.assert_allclose(eyes.mean(axis=0)[0], 99.5, atol=6)
    assert set(located.timings_ms) == {"decode", "find_face", "align"}


def test_a_photo_without_a_face_has_none(aligner):
    assert locate(aligner, encode(240, 320)).faces == ()


@pytest.mark.parametrize("encoded", [b"", b"no picture", encode()[:40], encode(1001, 1000)])
def test_bytes_that_cannot_be_used_are_refused(aligner, encoded):
    with pytest.raises(FrameError):
        locate(aligner, encoded)


def test_a_photo_whose_turn_comes_too_late_is_dropped(aligner, photo):
    with pytest.raises(DeadlineError):
        locate(aligner, photo, timeout_s=-1)


class TinyFaces:
    """Finds one face too small to align, and one that is fine."""

    def find(self, _frame):
        good = np.random.default_rng(0).uniform(20, 60, (49, 2)).astype(np.float32)
        good[19:25], good[25:31], good[[31, 37]] = (25, 30), (55, 30), [(30, 60), (50, 60)]
        tiny = good / 100
        return [
            FoundFace(box=(0, 0, 9, 9), landmarks=points, landmarks_68=np.zeros((68, 2), "f4"))
            for points in (tiny, good, good)
        ]


@pytest.mark.parametrize(("every_face", "count"), [(False, 1), (True, 2)])
def test_a_face_too_small_to_align_is_left_out(every_face, count):
    aligner = Aligner(max_pixels=1_000_000, max_waiting=2, make_finder=TinyFaces)
    assert len(locate(aligner, encode(100, 100), every_face=every_face).faces) == count


def test_more_photos_than_may_wait_are_sent_away(aligner):
    async def scenario():
        photo = encode(240, 320)
        calls = [aligner.locate(photo, every_face=False, timeout_s=10) for _ in range(3)]
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(scenario())
    assert [isinstance(answer, OverloadedError) for answer in answers] == [False, False, True]
