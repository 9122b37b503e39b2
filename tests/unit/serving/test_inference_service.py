import asyncio
import struct

import grpc
import numpy as np
import pytest

from aufleet import __version__
from aufleet.api.v1 import face_pb2
from aufleet.inference.v2 import open_inference_pb2 as messages

from .conftest import PlainReplicas, encode


def call(open_edge, method, request, **edge):
    async def scenario():
        async with open_edge(**edge) as opened:
            try:
                return await getattr(opened.inference, method)(request, metadata=opened.metadata)
            except grpc.aio.AioRpcError as error:
                return error

    return asyncio.run(scenario())


def infer(*images, model="faces"):
    request = messages.ModelInferRequest(model_name=model, id="7")
    request.inputs.add(name="IMAGE", datatype="BYTES", shape=[len(images)])
    request.raw_input_contents.append(
        b"".join(struct.pack("<I", len(image)) + image for image in images)
    )
    return request


def array(response, index, dtype):
    shape = tuple(response.outputs[index].shape)
    return np.frombuffer(response.raw_output_contents[index], dtype=dtype).reshape(shape)


def test_photos_are_answered_with_a_status_each(open_edge):
    response = call(open_edge, "ModelInfer", infer(encode(), b"not a picture"))
    assert [output.name for output in response.outputs] == ["PROBABILITY", "LANDMARKS", "STATUS"]
    probability, landmarks = array(response, 0, "<f4"), array(response, 1, "<f4")
    np.testing.assert_allclose(probability[0], [0.6, 0.6], rtol=1e-6)
    np.testing.assert_array_equal(landmarks[0], np.tile([45.0, 35.0], (49, 1)))
    # What is not known is not a number.
    assert np.isnan(probability[1]).all()
    assert np.isnan(landmarks[1]).all()
    assert array(response, 2, "<i4").tolist() == [
        face_pb2.FRAME_STATUS_OK,
        face_pb2.FRAME_STATUS_NOT_AN_IMAGE,
    ]
    assert (response.model_name, response.model_version, response.id) == ("faces", "1", "7")


def test_a_face_that_must_not_be_judged_is_not_a_number_and_has_its_reason(open_edge):
    response = call(
        open_edge, "ModelInfer", infer(encode(), model=""), replicas=PlainReplicas(ungradable={0})
    )
    assert np.isnan(array(response, 0, "<f4")).all()
    assert array(response, 2, "<i4").tolist() == [face_pb2.FRAME_STATUS_UNGRADABLE]
    assert response.parameters["ungradable_reasons"].string_param == "POSE"
    assert response.parameters["request_id"].string_param == "test-1"
    assert response.parameters["research_use_only"].bool_param
    # Told also where the request leaves it to the service.
    assert response.model_name == "faces"


def test_crops_are_answered_in_pixels_of_the_crop(open_edge):
    request = messages.ModelInferRequest(model_name="faces")
    request.inputs.add(name="FRAME", datatype="FP32", shape=[2, 3, 176, 176])
    request.raw_input_contents.append(np.zeros((2, 3, 176, 176), "<f4").tobytes())
    response = call(open_edge, "ModelInfer", request)
    assert array(response, 0, "<f4").shape == (2, 2)
    # The network's (100, 90) of the aligned frame lies 12 pixels nearer in the centre crop.
    np.testing.assert_array_equal(array(response, 1, "<f4")[1], np.tile([88.0, 78.0], (49, 1)))
    assert array(response, 2, "<i4").tolist() == [1, 1]


def test_a_palsy_model_has_four_outputs(open_edge):
    response = call(open_edge, "ModelInfer", infer(encode()), replicas=PlainReplicas("palsy"))
    assert array(response, 0, "<f4").shape == (1, 4)


def test_a_single_image_that_is_none_is_a_wrong_request(open_edge):
    error = call(open_edge, "ModelInfer", infer(b"not a picture"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith("IMAGE[0]: the bytes are not a picture")


def test_an_unknown_model_is_not_found(open_edge):
    error = call(open_edge, "ModelInfer", infer(encode(), model="other"))
    assert error.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(("name", "ready"), [("faces", True), ("other", False)])
def test_a_model_that_is_not_served_is_not_ready(open_edge, name, ready):
    response = call(open_edge, "ModelReady", messages.ModelReadyRequest(name=name))
    assert response.ready is ready


def test_the_server_tells_who_it_is(open_edge):
    metadata = call(open_edge, "ServerMetadata", messages.ServerMetadataRequest())
    assert (metadata.name, metadata.version) == ("aufleet", __version__)


@pytest.mark.parametrize(("question", "field"), [("Live", "live"), ("Ready", "ready")])
def test_the_server_lives_and_is_ready(open_edge, question, field):
    request = getattr(messages, f"Server{question}Request")()
    assert getattr(call(open_edge, f"Server{question}", request), field)


def test_a_model_tells_what_it_takes_and_gives(open_edge):
    metadata = call(open_edge, "ModelMetadata", messages.ModelMetadataRequest(name="faces"))
    assert list(metadata.versions) == ["1"]
    assert [(each.name, list(each.shape)) for each in metadata.inputs] == [
        ("IMAGE", [-1]),
        ("FRAME", [-1, 3, 176, 176]),
    ]
    assert [(each.name, list(each.shape)) for each in metadata.outputs] == [
        ("PROBABILITY", [-1, 2]),
        ("LANDMARKS", [-1, 49, 2]),
        ("STATUS", [-1]),
    ]
