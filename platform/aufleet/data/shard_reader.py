"""From the store to shards: downloaded once per node, checked, unpacked."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aufleet.data.cache import NodeCache
from aufleet.data.dataset import Dataset
from aufleet.data.fetching import Pace, ask_twice_if_slow, in_parallel
from aufleet.data.manifest import Partition
from aufleet.data.partition import decode_partition
from aufleet.data.shard import Shard, pack_shard, read_shard
from aufleet.errors import DataError

_pace = Pace()
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class ShardReader:
    """Opens the shards of some subjects; small, so that it may travel to other processes."""

    dataset: Dataset
    partitions: tuple[Partition, ...]
    """In the order of the rows."""
    cache: NodeCache | None
    """None reads from the store into memory."""

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Return the first row of each shard, and the number of rows at the end."""
        return np.cumsum([0, *(one.num_frames for one in self.partitions)], dtype=np.int64)

    def place_of(self, row: int) -> tuple[int, int]:
        """Return the number of the shard that holds a row, and which of its rows it is."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return number, int(row - self.starts[number])

    def open_all(self, use: Callable[[int, Shard], _Result]) -> list[_Result]:
        """Open every shard, several at once, and return what `use` makes of each.

        Raises:
            ObjectMissingError: A partition is not in the store.
            ObjectCorruptError: A partition is not what was published.
            StoreUnavailableError: The store gives no answer.
        """
        return in_parallel(
            lambda number: use(number, self.open(number)), range(len(self.partitions))
        )

    def open(self, number: int) -> Shard:
        """Return a shard; raises as `open_all`."""
        partition = self.partitions[number]
        source = self.dataset.store.uri_of(partition.key)
        if self.cache is None:
            shard = read_shard(self._load(partition), source=source)
        else:
            shard = self.cache.open(
                partition.sha256, source=source, load=lambda: self._load(partition)
            )
        if len(shard) != partition.num_frames:
            raise DataError(f"{source} has {len(shard)} frames, not {partition.num_frames}")
        return shard

    def open_anew(self, number: int, *, damaged: Shard) -> Shard:
        """Return a shard whose file in the cache turned out to be damaged."""
        if self.cache is not None:
            self.cache.discard(damaged)
        return self.open(number)

    def _load(self, partition: Partition) -> bytes:
        """Download, check and pack a partition; a slow answer does not hold up the others."""

        def ask() -> bytes:
            began = time.monotonic()
            data = self.dataset.read_partition(partition)
            _pace.note(seconds=time.monotonic() - began, size_bytes=len(data))
            return data

        data = ask_twice_if_slow(ask, patience_s=lambda: _pace.patience_s(partition.size_bytes))
        num_units = len(self.dataset.manifest.units)
        return pack_shard(decode_partition(data, subject=partition.subject, num_units=num_units))
