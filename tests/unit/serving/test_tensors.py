import struct

import numpy as np
import pytest

from aufleet.errors import InvalidRequestError
from aufleet.inference.v2.open_inference_pb2 import ModelInferRequest
from aufleet.serving.tensors import InferenceOutput, read_input, write_outputs

PIXELS = 3 * 176 * 176


def raw_of(*elements):
    return b"".join(struct.pack("<I", len(each)) + each for each in elements)


def request_with(name="IMAGE", datatype="BYTES", shape=(1,), raw=None, outputs=()):
    request = ModelInferRequest(model_name="demo", id="7")
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    if raw is not None:
        request.raw_input_contents.append(raw)
    for output in outputs:
        request.outputs.add(name=output)
    return request


def test_images_are_read_from_raw_bytes():
    given = read_input(request_with(shape=(2,), raw=raw_of(b"one", b"")), max_elements=8)
    assert given.images == (b"one", b"")
    assert given.frames is None


def test_images_are_read_from_typed_contents():
    request = request_with(shape=(1,))
    request.inputs[0].contents.bytes_contents.append(b"one")
    assert read_input(request, max_elements=8).images == (b"one",)


def test_frames_are_read_raw_and_typed():
    values = np.linspace(-1, 1, PIXELS, dtype=np.float32)
    raw = request_with("FRAME", "FP32", (1, 3, 176, 176), raw=values.tobytes())
    typed = request_with("FRAME", "FP32", (1, 3, 176, 176))
    typed.inputs[0].contents.fp32_contents.extend(values)
    for request in (raw, typed):
        frames = read_input(request, max_elements=8).frames
        assert frames.shape == (1, 3, 176, 176)
        np.testing.assert_array_equal(frames.ravel(), values)


NAN = np.full(PIXELS, np.nan, dtype=np.float32).tobytes()
WRONG = {
    "no input": (ModelInferRequest(), "inputs: 0 were sent"),
    "unknown input": (request_with("PIXELS"), "there is no input 'PIXELS'"),
    "wrong type": (request_with(datatype="UINT8", raw=b""), "send BYTES"),
    "wrong rank": (request_with(shape=(1, 1), raw=b""), r"send \[-1\]"),
    "no element": (request_with(shape=(0,), raw=b""), "0 elements"),
    "negative": (request_with(shape=(-1,), raw=b""), "-1 elements"),
    "too many": (request_with(shape=(9,), raw=b""), "send 1 to 8"),
    "count differs": (request_with(shape=(2,), raw=raw_of(b"one")), "1 elements for the shape"),
    "cut length": (request_with(raw=b"\x01\x00"), "cut off"),
    "cut element": (request_with(raw=struct.pack("<I", 2**32 - 1) + b"x"), "cut off"),
    "wrong frame": (request_with("FRAME", "FP32", (1, 3, 224, 224), raw=b""), "is not"),
    "too few values": (request_with("FRAME", "FP32", (1, 3, 176, 176), raw=b"1234"), "1 values"),
    "odd bytes": (request_with("FRAME", "FP32", (1, 3, 176, 176), raw=b"123"), "no FP32 values"),
    "not finite": (request_with("FRAME", "FP32", (1, 3, 176, 176), raw=NAN), "not finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_input_is_refused_in_one_sentence(name):
    request, words = WRONG[name]
    with pytest.raises(InvalidRequestError, match=words):
        read_input(request, max_elements=8)


def test_raw_and_typed_contents_together_are_refused():
    request = request_with(raw=raw_of(b"one"))
    request.inputs[0].contents.bytes_contents.append(b"one")
    with pytest.raises(InvalidRequestError, match="send one of the two"):
        read_input(request, max_elements=8)


OUTPUT = InferenceOutput(
    probability=np.array([[0.25, 0.5]], dtype=np.float32),
    landmarks=np.zeros((1, 49, 2), dtype=np.float32),
    status=np.array([1], dtype=np.int32),
)


def test_outputs_are_raw_in_order_little_endian():
    response = write_outputs(OUTPUT, request=request_with(), version="3")
    assert [(each.name, each.datatype, list(each.shape)) for each in response.outputs] == [
        ("PROBABILITY", "FP32", [1, 2]),
        ("LANDMARKS", "FP32", [1, 49, 2]),
        ("STATUS", "INT32", [1]),
    ]
    assert response.raw_output_contents[0] == struct.pack("<2f", 0.25, 0.5)
    assert response.raw_output_contents[2] == struct.pack("<i", 1)
    assert (response.model_name, response.model_version, response.id) == ("demo", "3", "7")


def test_only_the_asked_outputs_come_in_the_asked_order():
    request = request_with(outputs=["STATUS", "PROBABILITY"])
    response = write_outputs(OUTPUT, request=request, version="3")
    assert [each.name for each in response.outputs] == ["STATUS", "PROBABILITY"]
    assert len(response.raw_output_contents) == 2


def test_an_unknown_output_is_refused():
    with pytest.raises(InvalidRequestError, match=r"outputs\[0\].name: there is no output 'X'"):
        write_outputs(OUTPUT, request=request_with(outputs=["X"]), version="3")
