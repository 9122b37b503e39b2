"""A partition as this node keeps it: plain arrays in one file, read where they lie.

Parquet is made for whole columns; a loader wants single rows. So what was downloaded and checked
is unpacked once into the arrays that a loader takes, in the safetensors format. Mapped into
memory, a frame costs only its own pages, which all processes of the node share.
"""

import json
import mmap
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aufleet.data.partition import SubjectFrames
from aufleet.domain.palsy import side_class
from aufleet.errors import ObjectCorruptError

FORMAT = "1"
Picture = Literal["jpeg", "crop_240"]
_TYPES = {"U8": np.uint8, "U32": np.uint32, "I64": np.int64, "F32": np.float32}
_NUMBERS = ("landmarks", "landmarks_68", "units", "grades", "sides", "jpeg_ends", "jpeg_sums")
_CROPS = ("crop_240_ends", "crop_240_sums")
_DAMAGED = "the disk may be failing; delete the file"


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard:
    """The N frames of one subject; U units.

    Attributes:
        landmarks: (N, 49, 2) float32, pixels of the aligned frame.
        landmarks_68: (N, 68, 2) float32, NaN in the rows that have none.
        units: (N, U) int64: 0, 1 or 9.
        grades: (N,) int64: 0 to 3 or 9.
        sides: (N,) int64: affected side 0 none, 1 patient's left, 2 patient's right, or 9.
        has_crops: Whether every frame has LP-Net's crop.
        source: The partition's URI, for errors.
        file: The mapped file; None where the bytes lie in this process's own memory.
    """

    landmarks: NDArray[np.float32]
    landmarks_68: NDArray[np.float32]
    units: NDArray[np.int64]
    grades: NDArray[np.int64]
    sides: NDArray[np.int64]
    has_crops: bool
    source: str
    file: Path | None
    _arrays: dict[str, NDArray]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.grades)

    def picture(self, name: Picture, row: int) -> bytes:
        """Return a frame's JPEG: the aligned one, or LP-Net's crop where `has_crops`.

        Raises:
            ObjectCorruptError: The bytes are not those that were packed.
        """
        ends = self._arrays[f"{name}_ends"]
        data = self._arrays[name][ends[row - 1] if row else 0 : ends[row]].tobytes()
        if zlib.crc32(data) != self._arrays[f"{name}_sums"][row]:
            place = f"{self.source} as {self.file or 'this process'} keeps it"
            raise ObjectCorruptError(f"frame {row} of {place} is damaged", _DAMAGED)
        return data


def pack_shard(frames: SubjectFrames) -> bytes:
    """Return the bytes of a shard's file."""
    from safetensors.numpy import save

    arrays = {
        "landmarks": frames.landmarks,
        "landmarks_68": frames.landmarks_68,
        "units": frames.units,
        "grades": frames.grade,
        "sides": np.array([side_class(side) for side in frames.side], dtype=np.int64),
        **_packed("jpeg", frames.jpeg),
    }
    if frames.crop_240 is not None and None not in frames.crop_240:
        arrays.update(_packed("crop_240", tuple(crop for crop in frames.crop_240 if crop)))
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(arrays, metadata={"format": FORMAT, "sum": str(_sum_of(arrays))})


def read_shard(data: bytes | mmap.mmap, *, source: str, file: Path | None = None) -> Shard:
    """Return the shard in some bytes, without copying them.

    Args:
        data: What `pack_shard` made.
        source: The partition's URI, for errors.
        file: Where it lies, if it is mapped.

    Raises:
        ObjectCorruptError: The bytes are not those that were packed.
    """
    try:
        arrays, metadata = _unpacked(data)
        if metadata["sum"] != str(_sum_of(arrays)):
            raise ValueError("its sum differs")
        return Shard(
            **{name: arrays[name] for name in _NUMBERS[:5]},
            has_crops="crop_240" in arrays,
            source=source,
            file=file,
            _arrays=arrays,
        )
    except (ValueError, KeyError, TypeError) as error:
        place = f"{source} as {file or 'this process'} keeps it"
        raise ObjectCorruptError(f"{place} is damaged ({error})", _DAMAGED) from error


def _packed(name: str, pictures: tuple[bytes, ...]) -> dict[str, NDArray]:
    return {
        name: np.frombuffer(b"".join(pictures), dtype=np.uint8),
        f"{name}_ends": np.cumsum([len(one) for one in pictures], dtype=np.int64),
        f"{name}_sums": np.array([zlib.crc32(one) for one in pictures], dtype=np.uint32),
    }


def _unpacked(data: bytes | mmap.mmap) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Return views of the arrays, and the notes beside them."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    arrays = {}
    for name, entry in header.items():
        start, _ = entry["data_offsets"]
        count = int(np.prod(entry["shape"], dtype=np.int64))
        flat = np.frombuffer(data, _TYPES[entry["dtype"]], count=count, offset=8 + size + start)
        arrays[name] = flat.reshape(entry["shape"])
    return arrays, metadata


def _sum_of(arrays: dict[str, NDArray]) -> int:
    """Return a checksum of all numbers; the pictures have one each, looked at when one is read."""
    total = 0
    for name in (*_NUMBERS, *(name for name in _CROPS if name in arrays)):
        total = zlib.crc32(arrays[name].data, total)
    return total
