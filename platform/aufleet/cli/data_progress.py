"""Progress bars of long work on frames: frames/s and time left, on standard error."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aufleet.cli.output import errors

if TYPE_CHECKING:
    from rich.progress import Progress

    from aufleet.data.importing import ImportProgress

LINE_EVERY_S = 10.0
"""Where nobody watches (a log file), a line is written this often in the place of a bar."""

SPEED_OVER_S = 120.0
"""The time left follows from the speed over so long."""


@contextmanager
def frames_bar(words: str, *, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with frames/s and the time left; give the function that moves it on."""
    began = time.monotonic()
    with _bar("{task.completed:.0f}/{task.total:.0f} frames  {task.fields[rate]:.0f}/s") as bar:
        task = bar.add_task(words, total=total, rate=0.0)

        def advance(num_frames: int) -> None:
            bar.advance(task, num_frames)
            bar.update(task, rate=bar.tasks[task].completed / (time.monotonic() - began))

        yield advance


@contextmanager
def import_bar() -> Iterator[Callable[["ImportProgress"], None]]:
    """Show how far an import is; give the function that takes its progress."""
    said, began = time.monotonic(), 0.0
    with _bar("{task.fields[words]}") as bar:
        task = bar.add_task("starting Ray", total=None, words="")

        def show(progress: "ImportProgress") -> None:
            nonlocal said, began
            if not began:
                # The clock starts with the first news: neither Ray's start nor the frames of an
                # earlier run may stand in the speed.
                began = time.monotonic()
                bar.reset(task, total=progress.num_frames, completed=progress.frames_done)
            words = _words(progress, elapsed_s=time.monotonic() - began)
            bar.update(task, description="importing", completed=progress.frames_done, words=words)
            if not errors.is_terminal and time.monotonic() - said > LINE_EVERY_S:
                said = time.monotonic()
                errors.print(f"importing {words}")

        yield show


def _words(progress: "ImportProgress", *, elapsed_s: float) -> str:
    rate = (progress.frames_done - progress.frames_resumed) / max(elapsed_s, 1e-3)
    return (
        f"{progress.frames_done:,}/{progress.num_frames:,} frames, "
        f"{progress.subjects_done}/{progress.num_subjects} subjects, {rate:,.0f} frames/s"
    )


@contextmanager
def objects_bar(words: str, *, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar over the bytes of objects; give the function that moves it on."""
    from rich.progress import DownloadColumn, TransferSpeedColumn

    with _bar(DownloadColumn(), TransferSpeedColumn()) as bar:
        task = bar.add_task(words, total=total)
        yield lambda num_bytes: bar.advance(task, num_bytes)


def _bar(*columns: object) -> "Progress":
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    middle = [
        column if isinstance(column, ProgressColumn) else TextColumn(str(column))
        for column in columns
    ]
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *middle,
        TimeRemainingColumn(),
        console=errors,
        speed_estimate_period=SPEED_OVER_S,
    )
