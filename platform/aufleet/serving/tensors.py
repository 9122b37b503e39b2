"""The tensors of the Open Inference Protocol: inputs read and checked, outputs written raw.

N elements of one request. Raw bytes are little-endian and row-major; an element of type BYTES is
its length as uint32, then its bytes.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aufleet.data.alignment import CROP_SIZE
from aufleet.errors import InvalidRequestError
from aufleet.inference.v2.open_inference_pb2 import (
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataResponse,
)

IMAGE, FRAME = "IMAGE", "FRAME"
PROBABILITY, LANDMARKS, STATUS = "PROBABILITY", "LANDMARKS", "STATUS"
OUTPUTS = (PROBABILITY, LANDMARKS, STATUS)
FRAME_SHAPE = (3, CROP_SIZE, CROP_SIZE)

_InputTensor = ModelInferRequest.InferInputTensor
TensorMetadata = ModelMetadataResponse.TensorMetadata

INPUT_METADATA = (
    TensorMetadata(name=IMAGE, datatype="BYTES", shape=[-1]),
    TensorMetadata(name=FRAME, datatype="FP32", shape=[-1, *FRAME_SHAPE]),
)
"""A request brings one of the two."""


@dataclass(frozen=True, kw_only=True, eq=False)
class InferenceInput:
    """What a request brings: one of the two."""

    images: tuple[bytes, ...] | None = None
    """N photos as JPEG or PNG."""
    frames: NDArray[np.float32] | None = None
    """(N, 3, 176, 176) in [-1, 1]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class InferenceOutput:
    """What is answered; a row of an element without a face is not a number."""

    probability: NDArray[np.float32]
    """(N, U) or (N, 4)."""
    landmarks: NDArray[np.float32]
    """(N, 49, 2) in pixels of the photo, or of the crop that was sent."""
    status: NDArray[np.int32]
    """(N,) numbers of aufleet.api.v1.FrameStatus."""
    reasons: tuple[str, ...] = ()
    """N names of aufleet.api.v1.UngradableReason, empty where an element can be judged."""


def output_metadata(num_outputs: int) -> list[TensorMetadata]:
    """Return names, types and shapes of the outputs of a model."""
    return [
        TensorMetadata(name=PROBABILITY, datatype="FP32", shape=[-1, num_outputs]),
        TensorMetadata(name=LANDMARKS, datatype="FP32", shape=[-1, 49, 2]),
        TensorMetadata(name=STATUS, datatype="INT32", shape=[-1]),
    ]


def read_input(request: ModelInferRequest, *, max_elements: int) -> InferenceInput:
    """Return the request's one input.

    Raises:
        InvalidRequestError: The input's name, type, shape or contents are wrong.
    """
    if len(request.inputs) != 1:
        raise InvalidRequestError(
            f"inputs: {len(request.inputs)} were sent", f"send one, {IMAGE} or {FRAME}"
        )
    tensor = request.inputs[0]
    raw = _raw_of(request)
    if tensor.name == IMAGE:
        return InferenceInput(images=_read_images(tensor, raw, max_elements=max_elements))
    if tensor.name == FRAME:
        return InferenceInput(frames=_read_frames(tensor, raw, max_elements=max_elements))
    raise InvalidRequestError(
        f"inputs[0].name: there is no input {tensor.name[:100]!r}", f"send {IMAGE} or {FRAME}"
    )


def write_outputs(
    output: InferenceOutput, *, request: ModelInferRequest, version: str
) -> ModelInferResponse:
    """Return the response with the outputs that were asked for, or all, as raw bytes.

    Raises:
        InvalidRequestError: There is no such output.
    """
    response = ModelInferResponse(
        model_name=request.model_name, model_version=version, id=request.id
    )
    arrays = {
        PROBABILITY: ("FP32", output.probability.astype("<f4", copy=False)),
        LANDMARKS: ("FP32", output.landmarks.astype("<f4", copy=False)),
        STATUS: ("INT32", output.status.astype("<i4", copy=False)),
    }
    for name in asked_outputs(request):
        datatype, array = arrays[name]
        response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        response.raw_output_contents.append(array.tobytes())
    return response


def asked_outputs(request: ModelInferRequest) -> Sequence[str]:
    """Return the names of the outputs that a request asks for.

    Raises:
        InvalidRequestError: There is no such output.
    """
    names = [output.name for output in request.outputs]
    for index, name in enumerate(names):
        if name not in OUTPUTS:
            raise InvalidRequestError(
                f"outputs[{index}].name: there is no output {name[:100]!r}",
                f"outputs are {', '.join(OUTPUTS)}",
            )
    return names or OUTPUTS


def _raw_of(request: ModelInferRequest) -> bytes | None:
    """Return the input's raw bytes; None where its contents are typed."""
    if not request.raw_input_contents:
        return None
    if len(request.raw_input_contents) != len(request.inputs):
        raise InvalidRequestError(
            f"raw_input_contents: {len(request.raw_input_contents)} for {len(request.inputs)} "
            "inputs",
            "send one per input",
        )
    if any(tensor.HasField("contents") for tensor in request.inputs):
        raise InvalidRequestError(
            "inputs[0].contents: the request also has raw_input_contents", "send one of the two"
        )
    return request.raw_input_contents[0]


def _read_images(
    tensor: _InputTensor, raw: bytes | None, *, max_elements: int
) -> tuple[bytes, ...]:
    count = _check_shape(tensor, datatype="BYTES", inner=(), max_elements=max_elements)
    images = tuple(tensor.contents.bytes_contents) if raw is None else _split(raw)
    if len(images) != count:
        raise InvalidRequestError(f"inputs[0]: {len(images)} elements for the shape [{count}]")
    return images


def _read_frames(
    tensor: _InputTensor, raw: bytes | None, *, max_elements: int
) -> NDArray[np.float32]:
    count = _check_shape(tensor, datatype="FP32", inner=FRAME_SHAPE, max_elements=max_elements)
    values = _floats_of(tensor.contents) if raw is None else _floats_in(raw)
    shape = (count, *FRAME_SHAPE)
    if values.size != np.prod(shape):
        raise InvalidRequestError(f"inputs[0]: {values.size} values for the shape {list(shape)}")
    if not np.isfinite(values).all():
        raise InvalidRequestError("inputs[0]: some values are not finite")
    return values.reshape(shape)


def _check_shape(
    tensor: _InputTensor, *, datatype: str, inner: tuple[int, ...], max_elements: int
) -> int:
    """Return the number of elements."""
    if tensor.datatype != datatype:
        raise InvalidRequestError(
            f"inputs[0].datatype: {tensor.name} is not {tensor.datatype[:20]!r}",
            f"send {datatype}",
        )
    shape = tuple(tensor.shape)
    if len(shape) != 1 + len(inner) or shape[1:] != inner:
        raise InvalidRequestError(
            f"inputs[0].shape: {tensor.name} is not {list(shape[:8])}", f"send {[-1, *inner]}"
        )
    if not 1 <= shape[0] <= max_elements:
        raise InvalidRequestError(
            f"inputs[0].shape: {shape[0]} elements", f"send 1 to {max_elements}"
        )
    return shape[0]


def _floats_of(contents: InferTensorContents) -> NDArray[np.float32]:
    return np.fromiter(contents.fp32_contents, dtype=np.float32, count=len(contents.fp32_contents))


def _floats_in(raw: bytes) -> NDArray[np.float32]:
    if len(raw) % 4:
        raise InvalidRequestError(f"raw_input_contents[0]: {len(raw)} bytes are no FP32 values")
    return np.frombuffer(raw, dtype="<f4").astype(np.float32, copy=False)


def _split(raw: bytes) -> tuple[bytes, ...]:
    elements, at = [], 0
    while at < len(raw):
        end = at + 4
        if end <= len(raw):
            end += struct.unpack_from("<I", raw, at)[0]
        if end > len(raw) or end < at + 4:
            raise InvalidRequestError(
                "raw_input_contents[0]: the last element is cut off",
                "send each as its length in 4 bytes, then its bytes",
            )
        elements.append(raw[at + 4 : end])
        at = end
    return tuple(elements)
