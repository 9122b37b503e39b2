"""The frames and labels of some subjects, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aufleet.data.cache import NodeCache
from aufleet.data.dataset import Dataset
from aufleet.data.manifest import Partition
from aufleet.data.pictures import (
    ALIGNED,
    MASKED,
    EncodedPictures,
    KeptPictures,
    Pictures,
    Source,
)
from aufleet.data.shard import Shard
from aufleet.data.shard_reader import ShardReader
from aufleet.data.streaming import WorkerPictures
from aufleet.domain.action_units import label_of
from aufleet.errors import ConfigError

_LABELS = ("landmarks", "landmarks_68", "units", "grades", "sides")


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

    pictures: Pictures
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


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a part is brought to this process."""

    cache: NodeCache | None
    """Where this node keeps what was downloaded; None keeps it in memory."""
    keep_decoded_bytes: int
    """Parts whose decoded frames need no more are decoded once and kept."""
    workers: int
    """Processes that decode larger ones; 0 decodes in a thread of this process."""
    source: Source = ALIGNED
    """Which pictures are cut."""


def read_part(
    dataset: Dataset,
    *,
    subjects: Sequence[str],
    units: Sequence[int] | None,
    options: ReadOptions,
) -> Part:
    """Return the frames of some subjects, in the data set's order whatever order is asked.

    Args:
        dataset: Where they are published.
        subjects: Whose frames.
        units: Which unit columns, in which order; None for all.
        options: How they are read.

    Raises:
        ConfigError: No subjects, or a unit or the pictures that the data set lacks.
        DataError: A subject that the data set lacks.
        ObjectMissingError: A partition is not in the store.
        ObjectCorruptError: A partition is not what was published.
    """
    if not subjects:
        raise ConfigError(f"no subject of {dataset.uri} was asked for")
    columns = _columns(dataset, units)
    partitions = tuple(map(dataset.partition, sorted(set(subjects))))
    reader = ShardReader(dataset=dataset, partitions=partitions, cache=options.cache)
    pictures, labels = _read(reader, options)
    joined = {name: np.concatenate([one[name] for one in labels]) for name in _LABELS}
    return Part(
        **{**joined, "units": joined["units"][:, columns]},
        pictures=pictures,
        indices=_indices(dataset, partitions),
    )


_Labels = dict[str, NDArray]


def _read(reader: ShardReader, options: ReadOptions) -> tuple[Pictures, list[_Labels]]:
    source = options.source
    if reader.starts[-1] * source.frame_bytes <= options.keep_decoded_bytes:
        kept = KeptPictures(int(reader.starts[-1]), source=source)

        def use(number: int, shard: Shard) -> _Labels:
            _check_pictures(shard, source)
            kept.fill(shard, start=int(reader.starts[number]))
            # Copied, so that the shard itself is let go.
            return {name: getattr(shard, name).copy() for name in _LABELS}

        return kept, reader.open_all(use)
    workers = None
    if options.workers:
        workers = WorkerPictures(reader, source=source, workers=options.workers)
    shards = reader.open_all(lambda _, shard: shard)
    for shard in shards:
        _check_pictures(shard, source)
    labels = [{name: getattr(shard, name) for name in _LABELS} for shard in shards]
    # Processes share the files; what lies in this one's memory they would have to copy.
    if workers and all(shard.file for shard in shards):
        workers.hold(shards)
        return workers, labels
    return EncodedPictures(reader, source=source, shards=shards), labels


def _check_pictures(shard: Shard, source: Source) -> None:
    if source == MASKED and not shard.has_crops:
        raise ConfigError(
            f"crops of more than {ALIGNED.side} pixels cannot be cut: {shard.source} has no "
            f"{MASKED.side}-pixel pictures for every frame",
            "import the data set with --crop lpnet, or choose a frame_size of 176",
        )


def _columns(dataset: Dataset, units: Sequence[int] | None) -> list[int]:
    coded = dataset.manifest.units
    for unit in units or ():
        if unit not in coded:
            known = ", ".join(map(label_of, coded))
            raise ConfigError(f"{dataset.uri} has no {label_of(unit)}", f"it has {known}")
    return [coded.index(unit) for unit in (coded if units is None else units)]


def _indices(dataset: Dataset, partitions: Sequence[Partition]) -> NDArray[np.int64]:
    """Number the frames of the whole data set through, subject by subject."""
    starts, at = {}, 0
    for partition in dataset.manifest.partitions:
        starts[partition.subject] = at
        at += partition.num_frames
    return np.concatenate([starts[one.subject] + np.arange(one.num_frames) for one in partitions])
