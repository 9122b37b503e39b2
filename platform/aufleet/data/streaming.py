"""Frames decoded and cut by processes of their own: torch's `DataLoader` runs them."""

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import BaseContext
from multiprocessing.forkserver import ensure_running
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aufleet.data.pictures import Cut, EncodedPictures, Source
from aufleet.data.shard import Shard
from aufleet.data.shard_reader import ShardReader
from aufleet.errors import AufleetError, EnvironmentProblem

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader

PREFETCH = 3
"""Batches that each process works ahead."""


class WorkerPictures:
    """Frames that processes decode; which one takes which batch changes nothing."""

    def __init__(self, reader: ShardReader, *, source: Source, workers: int) -> None:
        """Start the processes; they get ready while the shards are on their way."""
        self._reader, self._source, self._workers = reader, source, workers
        self._shards: Sequence[Shard] = ()
        self._order = _Order()
        self._starting = ThreadPoolExecutor(1).submit(self._started)

    def hold(self, shards: Sequence[Shard]) -> None:
        """Keep the shards' files open, so that no other trial's take their place."""
        self._shards = shards

    def cut(self, cuts: Iterable[Cut], *, size: int) -> Iterator[NDArray[np.uint8]]:
        """Yield each cut's frames as (b, 3, size, size) uint8 RGB."""
        # Started once: an epoch finds the processes that the one before it used.
        loader = self._starting.result()
        self._order.tasks = [(cut, size) for cut in cuts]
        try:
            for answer in loader:
                if isinstance(answer, AufleetError):
                    raise answer
                yield answer.numpy()
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise EnvironmentProblem(
                "a process that decodes frames was ended from outside",
                "see that the node has memory and room in /dev/shm; "
                "AUFLEET_LOADER_WORKERS=0 decodes without such processes",
            ) from error

    def _started(self) -> "DataLoader":
        import torch
        from torch.utils.data import DataLoader

        loader = DataLoader(
            _Decoder(self._reader, self._source),  # pyright: ignore[reportArgumentType] - no subclass
            sampler=self._order,
            # The tasks are batches already.
            batch_size=None,
            num_workers=self._workers,
            prefetch_factor=PREFETCH,
            persistent_workers=True,
            multiprocessing_context=start_decoders(),
            # Its own, so that no number is drawn from the generator that training uses.
            generator=torch.Generator(),
            worker_init_fn=_begin_worker,
        )
        # Its processes begin with its first epoch: one without a task.
        iter(loader)
        return loader


def start_decoders() -> BaseContext:
    """Start the clean process that decoders are forked from, once; return how to fork them.

    A child of this process itself would inherit the locks of the threads that run here. The clean
    one has imported everything once for all of them, and it ends with this one.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch.utils.data", "cv2"])
    ensure_running()
    return context


class _Order:
    """The tasks of the next epoch."""

    def __init__(self) -> None:
        self.tasks: list[tuple[Cut, int]] = []

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[tuple[Cut, int]]:
        return iter(self.tasks)


class _Decoder:
    """What a process does; its shards are opened there."""

    def __init__(self, reader: ShardReader, source: Source) -> None:
        self._pictures = EncodedPictures(reader, source=source)

    def __getitem__(self, task: tuple[Cut, int]) -> "Tensor | AufleetError":
        import torch

        cut, size = task
        try:
            return torch.from_numpy(next(self._pictures.cut([cut], size=size)))
        except AufleetError as error:
            # As a value: raised, it would come wrapped in a text of torch's.
            return error


def _begin_worker(_number: int) -> None:
    import signal

    import cv2

    cv2.setNumThreads(0)
    # An interrupt is for whoever started this process, and this one ends with that one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
