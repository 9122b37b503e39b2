"""The frames and labels of some subjects, side by side in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aufleet.data.dataset import Dataset
from aufleet.data.decoding import decode_frame
from aufleet.data.partition import SubjectFrames
from aufleet.data.records import ALIGNED_SIZE
from aufleet.domain.action_units import label_of
from aufleet.domain.palsy import side_class
from aufleet.errors import ConfigError, FrameError

KEEP_DECODED_BYTES = 2 * 1024**3
"""Parts up to this size are decoded once and kept; larger ones are decoded batch by batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """The N frames of some subjects, U units.

    Attributes:
        pictures: Their pixels.
        landmarks: (N, 49, 2) float32, pixels of the aligned frame.
        landmarks_68: (N, 68, 2) float32 in the same pixels, NaN in the rows that have none.
        units: (N, U) int64: 0, 1 or 9.
        grades: (N,) int64: 0 to 3 or 9.
        sides: (N,) int64: affected side 0 none, 1 patient's left, 2 patient's right, or 9.
        indices: (N,) int64, number of each frame in the whole data set.
    """

    pictures: "Pictures"
    landmarks: NDArray[np.float32]
    landmarks_68: NDArray[np.float32]
    units: NDArray[np.int64]
    grades: NDArray[np.int64]
    sides: NDArray[np.int64]
    indices: NDArray[np.int64]

    def with_shuffled_labels(self, *, seed: int) -> "Part":
        """Return the same frames with each other's labels; those of a frame stay together."""
        dealt = np.random.default_rng((seed, 1)).permutation(len(self.indices))
        return replace(
            self,
            units=self.units[dealt],
            grades=self.grades[dealt],
            sides=self.sides[dealt],
        )


class Pictures:
    """Aligned frames by row, decoded once where that fits into memory."""

    def __init__(self, parts: Sequence[SubjectFrames]) -> None:
        """Decode the frames.

        Raises:
            FrameError: A frame is no picture of 200x200 pixels.
        """
        self._jpegs = [
            (part.subject, row, jpeg) for part in parts for row, jpeg in enumerate(part.jpeg)
        ]
        self._decoded: NDArray[np.uint8] | None = None
        if len(self._jpegs) * 3 * ALIGNED_SIZE**2 <= KEEP_DECODED_BYTES:
            self._decoded = self._decode(np.arange(len(self._jpegs)))
            self._jpegs = []

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return frames as (b, 200, 200, 3) uint8 RGB."""
        return self._decode(rows) if self._decoded is None else self._decoded[rows]

    def _decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        frames = np.empty((len(rows), ALIGNED_SIZE, ALIGNED_SIZE, 3), dtype=np.uint8)
        for position, row in enumerate(rows):
            subject, number, jpeg = self._jpegs[row]
            frame = decode_frame(jpeg)
            if frame.shape != frames.shape[1:]:
                raise FrameError(
                    f"row {number} of subject {subject} is a frame of shape {frame.shape}",
                    f"data sets hold aligned frames of {ALIGNED_SIZE}x{ALIGNED_SIZE} pixels",
                )
            frames[position] = frame
        return frames


def read_part(
    dataset: Dataset,
    *,
    subjects: Sequence[str],
    units: Sequence[int] | None,
    cache_dir: Path | None = None,
) -> Part:
    """Return the frames of some subjects, in the data set's order whatever order is asked.

    Args:
        dataset: Where they are published.
        subjects: Whose frames.
        units: Which unit columns, in which order; None for all.
        cache_dir: A folder of this node that keeps what was read.

    Raises:
        ConfigError: No subjects, or a unit that the data set lacks.
        DataError: A subject that the data set lacks.
        ObjectMissingError: A partition is not in the store.
        ObjectCorruptError: A partition is not what was published.
    """
    if not subjects:
        raise ConfigError(f"no subject of {dataset.uri} was asked for")
    columns = _columns(dataset, units)
    parts = [
        dataset.read_subject(subject, cache_dir=cache_dir) for subject in sorted(set(subjects))
    ]
    return Part(
        pictures=Pictures(parts),
        landmarks=np.concatenate([part.landmarks for part in parts]),
        landmarks_68=np.concatenate([part.landmarks_68 for part in parts]),
        units=np.concatenate([part.units[:, columns] for part in parts]),
        grades=np.concatenate([part.grade for part in parts]),
        sides=np.array([side_class(side) for part in parts for side in part.side], dtype=np.int64),
        indices=_indices(dataset, parts),
    )


def _columns(dataset: Dataset, units: Sequence[int] | None) -> list[int]:
    coded = dataset.manifest.units
    for unit in units or ():
        if unit not in coded:
            known = ", ".join(map(label_of, coded))
            raise ConfigError(f"{dataset.uri} has no {label_of(unit)}", f"it has {known}")
    return [coded.index(unit) for unit in (coded if units is None else units)]


def _indices(dataset: Dataset, parts: Sequence[SubjectFrames]) -> NDArray[np.int64]:
    """Number the frames of the whole data set through, subject by subject."""
    starts, at = {}, 0
    for partition in dataset.manifest.partitions:
        starts[partition.subject] = at
        at += partition.num_frames
    return np.concatenate([starts[part.subject] + np.arange(len(part)) for part in parts])
