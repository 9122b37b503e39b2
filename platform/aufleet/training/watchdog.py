"""Ends this process where its trial makes no progress: a hanging rank must not hold its machines.

A thread looks at the clock and says what is wrong. Where a library hangs without giving other
threads their turn, Python's own watcher, which needs none, ends the process a little later.
"""

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from torch import Tensor

from aufleet.data.labels import LabelStatistics
from aufleet.training.fold_data import Loader

T = TypeVar("T")

STALLED = 75
"""Exit code of a process that its watchdog ended: a temporary failure, as sysexits.h has it."""
_LOOKS = 10
"""Looks at the clock within the limit."""


class Watchdog:
    """Watches over one trial of this process; a context manager.

    Waiting for others to ask for the next epoch is no hanging: see `paused`.
    """

    def __init__(self, *, limit_s: float, end: Callable[[float], None] | None = None) -> None:
        """Prepare.

        Args:
            limit_s: The longest time between two signs of progress; 0 for no limit.
            end: Called once the limit has passed, with the seconds; ends the process.
        """
        self._limit_s, self._end = limit_s, end or _end_process
        self._last = time.monotonic()
        self._waiting = False
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def progress(self) -> None:
        """Take down a sign of progress."""
        self._last = time.monotonic()

    def along(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; each is a sign of progress."""
        for item in items:
            self.progress()
            yield item
        self.progress()

    def paused(self, call: Callable[[], T]) -> T:
        """Return what a call returns that may take as long as it likes."""
        self._waiting = True
        try:
            return call()
        finally:
            self.progress()
            self._waiting = False

    def __enter__(self) -> Self:
        """Start watching."""
        self.progress()
        if self._limit_s:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching."""
        self._over.set()
        if self._thread:
            self._thread.join()

    def _watch(self) -> None:
        try:
            while not self._over.wait(self._limit_s / _LOOKS):
                silent_s = time.monotonic() - self._last
                if silent_s > self._limit_s and not self._waiting:
                    self._end(silent_s)
                    return
                self._arm()
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _arm(self) -> None:
        # Whoever keeps this thread from its turn for so long has stopped the whole process.
        faulthandler.dump_traceback_later(1.5 * self._limit_s, exit=True, file=2)


@dataclass(frozen=True, kw_only=True)
class WatchedLoader:
    """A loader of which each batch is a sign of progress."""

    loader: Loader
    watchdog: Watchdog

    @property
    def num_frames(self) -> int:
        """Frames of the part, over all ranks."""
        return self.loader.num_frames

    @property
    def steps_per_epoch(self) -> int:
        """Global batches in an epoch."""
        return self.loader.steps_per_epoch

    def epoch(self, epoch: int, /) -> Iterator[dict[str, Tensor]]:
        """Yield this rank's batches."""
        return self.watchdog.along(self.loader.epoch(epoch))

    def statistics(self) -> LabelStatistics:
        """Return the label counts."""
        return self.loader.statistics()


def _end_process(silent_s: float) -> None:
    """Say where the process hangs, and end it at once: nothing in it can be trusted to return."""
    line = (
        f"no progress for {silent_s:.0f} s (process {os.getpid()}): the process ends; the same "
        "trial goes on from its last checkpoint, stall_s is the limit\n"
    )
    os.write(2, line.encode())
    faulthandler.dump_traceback(file=2, all_threads=True)
    os._exit(STALLED)
