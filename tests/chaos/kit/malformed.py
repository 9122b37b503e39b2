"""Requests that are wrong in every way one can think of, as bytes on the wire."""

import struct
import zlib
from collections.abc import Sequence

from hypothesis import strategies as st

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.api.v1 import face_pb2
from aufleet.inference.v2 import open_inference_pb2 as inference

FACES = "/aufleet.api.v1.FaceAnalysisService/"
INFERENCE = "/inference.GRPCInferenceService/"
DETECT, GRADE, STREAM = f"{FACES}DetectActionUnits", f"{FACES}GradePalsy", f"{FACES}AnalyzeStream"
INFER = f"{INFERENCE}ModelInfer"
DATATYPES = ("BYTES", "FP32", "FP64", "INT32", "UINT8", "BOOL", "FP16", "BF16", "", "nonsense")
SIZES = (-(2**63), -1, 0, 1, 2, 3, 176, 2**31, 2**63 - 1)


def png(width: int, height: int, data: bytes) -> bytes:
    """Return a PNG whose header says what it likes about its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data, 9))
        + chunk(b"IEND", b"")
    )


def pictures(good: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Draw what calls itself a picture: cut, changed, huge, a bomb, or nothing of the kind."""
    whole = st.sampled_from(list(good))
    cut = st.builds(lambda data, part: data[: int(len(data) * part)], whole, st.floats(0, 1))
    return st.one_of(
        st.binary(max_size=300),
        cut,
        st.builds(_changed, whole, st.integers(0, 2**31), st.integers(0, 255)),
        st.builds(
            png,
            st.sampled_from([0, 1, 200, 7_000, 60_000, 2**31 - 1]),
            st.sampled_from([0, 1, 200, 7_000, 60_000, 2**31 - 1]),
            st.sampled_from([b"", b"\0" * 100, b"\0" * 2_000_000]),
        ),
    )


def _changed(data: bytes, where: int, value: int) -> bytes:
    where %= len(data)
    return data[:where] + bytes([value]) + data[where + 1 :]


def face_requests(good: Sequence[bytes]) -> st.SearchStrategy[tuple[str, bytes]]:
    """Draw method and message of the project's own API."""
    frame = st.builds(
        lambda data, aligned, faces: face_pb2.Frame(
            **({"aligned": data} if aligned else {"encoded": data}), faces=faces
        ),
        pictures(good),
        st.booleans(),
        st.integers(0, 5),
    )
    detect = st.builds(
        lambda frames, model, version, units: (
            DETECT,
            messages.DetectActionUnitsRequest(
                frames=frames, model=model, version=version, units=units
            ).SerializeToString(),
        ),
        st.lists(frame, max_size=3),
        _mostly("faces", "", "nobody", "\x00", "x" * 5000),
        _mostly("", "1", "champion", "-1", "9" * 300),
        st.lists(st.integers(0, 2**31 - 1), max_size=3),
    )
    grade = st.builds(
        lambda frames: (GRADE, messages.GradePalsyRequest(frames=frames).SerializeToString()),
        st.lists(frame, max_size=3),
    )
    # No palsy model is served: that answer is always the same.
    return st.one_of(detect, detect, detect, detect, grade)


def _mostly(usual: str, *others: str) -> st.SearchStrategy[str]:
    """Draw what gets through, or now and then what does not."""
    return st.sampled_from([usual] * 5 * len(others) + list(others))


def inference_requests(good: Sequence[bytes]) -> st.SearchStrategy[tuple[str, bytes]]:
    """Draw method and message of the Open Inference Protocol, each field as wrong as can be."""
    shape = st.lists(st.sampled_from(SIZES), max_size=5)
    raw = st.one_of(
        st.binary(max_size=200),
        st.builds(lambda data: struct.pack("<I", len(data)) + data, pictures(good)),
        st.builds(lambda size: struct.pack("<I", size), st.integers(0, 2**32 - 1)),
        st.sampled_from([b"\0" * (3 * 176 * 176 * 4), b"\xff" * (3 * 176 * 176 * 4)]),
    )
    contents = st.builds(
        inference.InferTensorContents,
        bytes_contents=st.lists(st.binary(max_size=20), max_size=2),
        fp32_contents=st.lists(st.floats(width=32), max_size=3),
        int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
    )
    tensor = st.builds(
        inference.ModelInferRequest.InferInputTensor,
        name=st.sampled_from(["IMAGE", "FRAME", "", "other"]),
        datatype=st.sampled_from(DATATYPES),
        shape=st.one_of(shape, st.sampled_from([[1], [1, 3, 176, 176], [2]])),
        contents=st.one_of(st.none(), contents),
    )
    output = st.builds(
        inference.ModelInferRequest.InferRequestedOutputTensor,
        name=st.sampled_from(["PROBABILITY", "LANDMARKS", "STATUS", "", "other"]),
    )
    return st.builds(
        lambda **fields: (INFER, inference.ModelInferRequest(**fields).SerializeToString()),
        model_name=_mostly("faces", "", "nobody"),
        model_version=_mostly("", "1", "x"),
        id=st.text(max_size=20),
        inputs=st.lists(tensor, max_size=3),
        outputs=st.lists(output, max_size=3),
        raw_input_contents=st.lists(raw, max_size=3),
    )


def wire(good: Sequence[bytes]) -> st.SearchStrategy[tuple[str, bytes]]:
    """Draw method and bytes: random, cut or changed messages, and whole ones of wrong values."""
    sound = st.one_of(face_requests(good), inference_requests(good))
    method = st.sampled_from([DETECT, GRADE, INFER, f"{FACES}GetModel", f"{FACES}Nothing"])
    random = st.tuples(method, st.binary(max_size=500))
    cut = st.builds(
        lambda request, part: (request[0], request[1][: int(len(request[1]) * part)]),
        sound,
        st.floats(0, 1),
    )
    changed = st.builds(
        lambda request, where, value: (
            request[0],
            _changed(request[1], where, value) if request[1] else b"\xff",
        ),
        sound,
        st.integers(0, 2**31),
        st.integers(0, 255),
    )
    return st.one_of(sound, sound, random, cut, changed)
