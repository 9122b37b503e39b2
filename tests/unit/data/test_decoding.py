import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aufleet.data.decoding import decode_frame, picture_size
from aufleet.errors import FrameError

TWO_HALVES = np.zeros((40, 60, 3), dtype=np.uint8)
TWO_HALVES[:20] = [255, 0, 0]
TWO_HALVES[20:] = [0, 0, 255]


def encoded(frame: np.ndarray = TWO_HALVES, *, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, kind, **options)
    return file.getvalue()


def oriented(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(exif=exif.tobytes())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"kind": "PNG"}])
def test_a_picture_is_rgb(options) -> None:
    frame = decode_frame(encoded(**options))

    assert frame.shape == (40, 60, 3)
    np.testing.assert_allclose(frame[5, 5], [255, 0, 0], atol=3)


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 4)])
def test_grey_and_transparent_pictures_become_rgb(shape) -> None:
    assert decode_frame(encoded(np.zeros(shape, np.uint8), kind="PNG")).shape == (40, 60, 3)


def test_sixteen_bits_become_eight() -> None:
    data = cv2.imencode(".png", np.full((8, 8, 3), 65535, np.uint16))[1].tobytes()

    assert (decode_frame(data) == 255).all()


@pytest.mark.parametrize(
    ("orientation", "shape", "top_is_red"),
    [(1, (40, 60), 1), (3, (40, 60), 0), (8, (60, 40), None)],
)
def test_a_phone_held_sideways_gives_an_upright_frame(orientation, shape, top_is_red) -> None:
    frame = decode_frame(oriented(orientation))

    assert frame.shape[:2] == shape
    if top_is_red is not None:
        assert (frame[2, 2, 0] > 128) == top_is_red
    else:  # turned to the left: red above is now red on the left
        assert frame[30, 2, 0] > 128 > frame[30, -3, 0]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "empty"),
        (b"hello", "not a picture"),
        (b"GIF89a" + bytes(50), "not a picture"),
        (b"\xff\xd8\xff", "no size"),
        (b"\x89PNG\r\n\x1a\n", "no size"),
        (encoded()[:200], "no size|cannot be decoded"),
        (encoded()[:-100], "cannot be decoded"),
    ],
)
def test_bytes_that_are_no_whole_picture_are_refused(data, complaint) -> None:
    with pytest.raises(FrameError, match=complaint):
        decode_frame(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_too_many_pixels_are_refused_before_anything_is_decoded(kind) -> None:
    header = encoded(kind=kind)[:700]

    with pytest.raises(FrameError, match="60 x 40"):
        decode_frame(header, max_pixels=2399)


def test_a_small_file_cannot_claim_much_memory() -> None:
    bomb = bytearray(encoded(kind="PNG"))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2

    with pytest.raises(FrameError, match=r"3600\.0 megapixels: send at most 50"):
        decode_frame(bytes(bomb))


@pytest.mark.parametrize("shape", [(1, 32_767), (60_000, 1)])
def test_a_picture_that_is_too_long_is_refused(shape) -> None:
    height, width = shape

    with pytest.raises(FrameError, match=f"{width} x {height} pixels: send at most 32,766 along"):
        decode_frame(encoded(np.zeros((*shape, 3), dtype=np.uint8), kind="PNG"))


def test_the_longest_picture_is_decoded() -> None:
    long = np.zeros((1, 32_766, 3), dtype=np.uint8)

    assert decode_frame(encoded(long, kind="PNG")).shape == long.shape


@given(data=st.binary(max_size=300), magic=st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_no_bytes_make_the_header_reader_fail_otherwise(data, magic) -> None:
    try:
        width, height = picture_size(magic + data)
    except FrameError:
        return
    assert width > 0
    assert height > 0
