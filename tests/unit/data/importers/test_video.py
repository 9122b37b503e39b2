import numpy as np
import pytest
from raw_trees.faces import Photo, cut_off, damage_frame, write, write_video

from aufleet.data.importers.video import count_frames, read_video
from aufleet.errors import FrameError


@pytest.fixture(params=["MJPG", "mp4v"])
def film(request, tmp_path):
    """Thirty frames, each brighter than the one before, with a red sky."""
    return write_video(tmp_path / "film.avi", list(map(_step, range(30))), codec=request.param)


def test_every_frame_comes_once_in_order_and_in_rgb(film) -> None:
    frames = list(read_video(film))

    assert count_frames(film) == 30
    assert [item.number for item in frames] == list(range(30))
    assert [_number(item.frame) for item in frames] == list(range(30))
    assert frames[0].frame.shape == (256, 256, 3)
    np.testing.assert_allclose(frames[0].frame[20, 100], [200, 30, 30], atol=12)


def test_frames_that_nobody_wants_are_skipped(film) -> None:
    frames = list(read_video(film, skip=lambda number: number % 10 != 3))

    assert [(item.number, _number(item.frame)) for item in frames] == [(3, 3), (13, 13), (23, 23)]


@pytest.mark.parametrize("keep", [0.35, 0.6, 0.8])
def test_the_end_of_a_video_that_is_cut_off_is_one_run(film, keep) -> None:
    cut_off(film, keep=keep)

    *whole, lost = read_video(film)

    assert [_number(item.frame) for item in whole] == list(range(len(whole)))
    assert (lost.number, lost.frame, lost.reason) == (len(whole), None, "video ends early")
    assert lost.number + lost.count == 30


def test_a_damaged_frame_is_reported_in_its_place(film) -> None:
    damage_frame(film, 12)

    frames = list(read_video(film))

    assert [item.number for item in frames] == list(range(30))
    assert [item.number for item in frames if item.frame is None] == [12]
    assert frames[12].reason == "frame cannot be decoded"
    after = [_number(item.frame) for item in frames[13:]]
    # Pictures that build on the damaged one may differ a little.
    np.testing.assert_allclose(after, range(13, 30), atol=1)


@pytest.mark.parametrize("content", [b"", b"RIFF and no more", b"text"])
def test_what_is_no_video_is_an_error_without_noise(tmp_path, content, capfd) -> None:
    path = write(tmp_path / "film.avi", content)

    with pytest.raises(FrameError, match=r"film\.avi is not a video that can be opened"):
        list(read_video(path))

    assert capfd.readouterr() == ("", "")


def _step(number: int) -> Photo:
    pixels = np.full((256, 256, 3), 20 + 7 * number, np.uint8)
    pixels[:40] = (200, 30, 30)
    return Photo(pixels, np.zeros((49, 2)), np.zeros((68, 2)))


def _number(frame: np.ndarray) -> int:
    return round((float(frame[80:].mean()) - 20) / 7)
