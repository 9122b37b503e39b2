"""One subject's frames as Parquet bytes, and back as columns."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aufleet.data.records import FrameRecord
from aufleet.errors import DataError

ROWS_PER_GROUP = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class SubjectFrames:
    """The N frames of one subject, column by column; U is the data set's number of units.

    Attributes:
        subject: Who is seen.
        sequence: (N,) str, the video or task of each frame.
        frame: (N,) int64, its number there.
        jpeg: N JPEGs of 200x200 pixels.
        landmarks: (N, 49, 2) float32, pixels of the aligned frame.
        landmarks_68: (N, 68, 2) float32, NaN in the rows that have none.
        landmark_source: (N,) str.
        units: (N, U) int64: 0, 1 or 9.
        intensities: (N, U) int64: 0 to 5, -1 in the rows that have none.
        house_brackmann: (N,) int64: 1 to 6, 0 where not graded.
        grade: (N,) int64: 0 to 3, 9 where not graded.
        side: (N,) str: "none", "left", "right" or "".
        exercise: (N,) str.
        crop_240: N JPEGs of 240x240 pixels, LP-Net's masked crops (`data.crop_240`), None in the
            rows that have none; None where no row has one, or where they were not asked for.
    """

    subject: str
    sequence: NDArray[np.str_]
    frame: NDArray[np.int64]
    jpeg: tuple[bytes, ...]
    landmarks: NDArray[np.float32]
    landmarks_68: NDArray[np.float32]
    landmark_source: NDArray[np.str_]
    units: NDArray[np.int64]
    intensities: NDArray[np.int64]
    house_brackmann: NDArray[np.int64]
    grade: NDArray[np.int64]
    side: NDArray[np.str_]
    exercise: NDArray[np.str_]
    crop_240: tuple[bytes | None, ...] | None = None

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.jpeg)


# Lists of open length: Parquet cannot read null rows of fixed-size ones back.
SCHEMA = pa.schema(
    [
        pa.field("subject", pa.string(), nullable=False),
        pa.field("sequence", pa.string(), nullable=False),
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("jpeg", pa.binary(), nullable=False),
        pa.field("landmarks", pa.list_(pa.float32()), nullable=False),
        pa.field("landmarks_68", pa.list_(pa.float32())),
        pa.field("landmark_source", pa.string(), nullable=False),
        pa.field("units", pa.list_(pa.int8()), nullable=False),
        pa.field("intensities", pa.list_(pa.int8())),
        pa.field("house_brackmann", pa.int8(), nullable=False),
        pa.field("grade", pa.int8(), nullable=False),
        pa.field("side", pa.string(), nullable=False),
        pa.field("exercise", pa.string(), nullable=False),
    ]
)
_CROP_240 = pa.field("crop_240", pa.binary())
"""A column of its own that only partitions with crops have: older ones and those without stay as
they are, byte for byte."""

# Lists are named by their leaves.
_COMPRESSION = {
    f"{column.name}.list.element" if pa.types.is_list(column.type) else column.name: (
        "none" if pa.types.is_binary(column.type) else "zstd"
    )
    for column in (*SCHEMA, _CROP_240)
}


def encode_partition(records: Sequence[FrameRecord], *, num_units: int) -> bytes:
    """Return the frames of one subject as Parquet; the same bytes for the same frames.

    Raises:
        DataError: A frame stands twice or has another number of units.
    """
    ordered = sorted(records, key=lambda record: (record.sequence, record.frame))
    for before, after in pairwise(ordered):
        if (before.sequence, before.frame) == (after.sequence, after.frame):
            raise DataError(f"{after.where} stands twice", "number the frames of a sequence")
    for record in ordered:
        if len(record.units) != num_units:
            raise DataError(f"{record.where} has {len(record.units)} units, not {num_units}")
    has_crops = any(record.crop_240 is not None for record in ordered)
    schema = SCHEMA.append(_CROP_240) if has_crops else SCHEMA
    table = pa.Table.from_pylist([_row(record) for record in ordered], schema)
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        row_group_size=ROWS_PER_GROUP,
        # JPEG does not shrink any more; the numbers do.
        compression={  # pyright: ignore[reportArgumentType] - a dict per column works
            column: codec
            for column, codec in _COMPRESSION.items()
            if has_crops or column != _CROP_240.name
        },
        use_dictionary=False,
        write_statistics=False,
    )
    return sink.getvalue()


def decode_partition(
    data: bytes, *, subject: str, num_units: int, crops: bool = True
) -> SubjectFrames:
    """Return the columns of one subject's Parquet bytes.

    Args:
        data: What `encode_partition` made, also in an older version.
        subject: Whose.
        num_units: Columns of unit labels.
        crops: Read LP-Net's crops too, where the partition has them.

    Raises:
        DataError: The columns are not those of a partition.
    """
    try:
        has_crops = crops and _CROP_240.name in pq.read_schema(io.BytesIO(data)).names
        schema = SCHEMA.append(_CROP_240) if has_crops else SCHEMA
        # One thread: a trial's threads belong to its forward pass.
        table = pq.read_table(io.BytesIO(data), schema=schema, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"the partition of {subject} is not one of ours: {error}") from error
    return SubjectFrames(
        subject=subject,
        sequence=_strings(table, "sequence"),
        frame=_integers(table, "frame"),
        jpeg=tuple(table.column("jpeg").to_pylist()),
        landmarks=_vectors(table, "landmarks", size=98, missing=np.nan).reshape(-1, 49, 2),
        landmarks_68=_vectors(table, "landmarks_68", size=136, missing=np.nan).reshape(-1, 68, 2),
        landmark_source=_strings(table, "landmark_source"),
        units=_vectors(table, "units", size=num_units, missing=-1).astype(np.int64),
        intensities=_vectors(table, "intensities", size=num_units, missing=-1).astype(np.int64),
        house_brackmann=_integers(table, "house_brackmann"),
        grade=_integers(table, "grade"),
        side=_strings(table, "side"),
        exercise=_strings(table, "exercise"),
        crop_240=tuple(table.column(_CROP_240.name).to_pylist()) if has_crops else None,
    )


def _row(record: FrameRecord) -> dict[str, Any]:
    points_68 = record.landmarks_68
    return {
        "subject": record.subject,
        "sequence": record.sequence,
        "frame": record.frame,
        "jpeg": record.jpeg,
        "landmarks": np.asarray(record.landmarks, dtype=np.float32).ravel(),
        "landmarks_68": (
            None if points_68 is None else np.asarray(points_68, dtype=np.float32).ravel()
        ),
        "landmark_source": record.landmark_source,
        "units": record.units,
        "intensities": record.intensities,
        "house_brackmann": record.house_brackmann,
        "grade": int(record.grade),
        "side": str(record.side),
        "exercise": record.exercise,
        "crop_240": record.crop_240,
    }


def _integers(table: pa.Table, name: str) -> NDArray[np.int64]:
    return table.column(name).to_numpy().astype(np.int64)


def _strings(table: pa.Table, name: str) -> NDArray[np.str_]:
    return np.array(table.column(name).to_pylist(), dtype=np.str_)


def _vectors(table: pa.Table, name: str, *, size: int, missing: float) -> NDArray[Any]:
    """Return a list column as (N, size), with rows of `missing` where it is null."""
    column = table.column(name).combine_chunks()
    known = column.is_valid().to_numpy(zero_copy_only=False)
    values = column.flatten().to_numpy(zero_copy_only=False)
    if len(values) != known.sum() * size:
        raise DataError(f"column {name} does not hold {size} numbers in each row")
    rows = np.full((len(column), size), missing, dtype=values.dtype)
    rows[known] = values.reshape(int(known.sum()), size)
    return rows
