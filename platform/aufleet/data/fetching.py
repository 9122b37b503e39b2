"""Doing many slow things at once, and asking again where one answer is slow."""

import contextlib
import os
import queue
import random
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

PARALLEL = 8
"""Shards on their way at once."""
FIRST_PATIENCE_S = 10.0
"""How long the first answer may take, before it is known how long they take here."""
SHORTEST_PATIENCE_S = 5.0
TOO_SLOW = 4
"""Times the usual pace."""
_LOOK_S = 0.1

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Pace:
    """How long answers of this process took of late, by their size."""

    def __init__(self) -> None:
        self._seconds_per_byte: deque[float] = deque(maxlen=64)

    def note(self, *, seconds: float, size_bytes: int) -> None:
        """Take down an answer."""
        self._seconds_per_byte.append(seconds / max(size_bytes, 1))

    def patience_s(self, size_bytes: int) -> float:
        """Return after which time an answer is slow."""
        if not self._seconds_per_byte:
            return FIRST_PATIENCE_S
        usual = statistics.median(self._seconds_per_byte) * size_bytes
        return max(SHORTEST_PATIENCE_S, TOO_SLOW * usual)


def ask_twice_if_slow(ask: Callable[[], _Result], *, patience_s: Callable[[], float]) -> _Result:
    """Return the first good answer; a second request goes out where the first is slow.

    The slower one is left to itself: what it brings is thrown away.

    Args:
        ask: Sends a request and waits for its answer.
        patience_s: Says after which time an answer is slow, as far as is known by now.
    """
    answers: queue.SimpleQueue[tuple[_Result | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((ask(), None))
        except BaseException as error:
            answers.put((None, error))

    began = time.monotonic()
    _in_background(run)
    while answers.empty() and time.monotonic() - began < patience_s():
        with contextlib.suppress(queue.Empty):
            answers.put(answers.get(timeout=_LOOK_S))
    if answers.empty():
        _in_background(run)
        result, error = answers.get()
        if error is not None:
            result, error = answers.get()
    else:
        result, error = answers.get()
    if error is not None:
        raise error
    return result  # pyright: ignore[reportReturnType] - an answer without an error


def in_parallel(
    work: Callable[[_Item], _Result], items: Sequence[_Item], *, threads: int = PARALLEL
) -> list[_Result]:
    """Return the results in the order of the items; the first error ends it.

    The processes of a node begin at different items, so that they share the way.
    """
    results: dict[int, _Result] = {}
    finished: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    first = random.Random(os.getpid()).randrange(max(len(items), 1))
    waiting = deque([*range(first, len(items)), *range(first)])

    def run() -> None:
        while True:
            try:
                number = waiting.popleft()
            except IndexError:
                return
            try:
                results[number] = work(items[number])
                finished.put(None)
            except BaseException as error:
                finished.put(error)

    for _ in range(min(threads, len(items))):
        _in_background(run)
    try:
        for _ in items:
            # An error does not wait for the threads that still wait for their answers.
            if (error := finished.get()) is not None:
                raise error
    finally:
        waiting.clear()
    return [results[number] for number in range(len(items))]


def ahead(items: Iterator[_Item], *, depth: int) -> Iterator[_Item]:
    """Yield the items while a thread makes the next ones; closing it ends the thread."""
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stopped = threading.Event()
    thread = _in_background(lambda: _make(items, ready, stopped))
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()


def _make(items: Iterator[Any], ready: queue.Queue, stopped: threading.Event) -> None:
    """Put the items into a queue, and at last how they ended."""
    try:
        for item in items:
            _offer(("item", item), ready, stopped)
            if stopped.is_set():
                return
        _offer(("end", None), ready, stopped)
    except BaseException as error:
        _offer(("error", error), ready, stopped)
    finally:
        # What works ahead of this one ends as well.
        if isinstance(items, Generator):
            items.close()


def _offer(entry: tuple[str, Any], ready: queue.Queue, stopped: threading.Event) -> None:
    """Put an entry into a queue as soon as there is room, unless nobody wants it any more."""
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(entry, timeout=_LOOK_S)
            return


def _in_background(run: Callable[[], None]) -> threading.Thread:
    """Start a thread that does not keep an interrupted program from ending."""
    thread = threading.Thread(target=run, name="aufleet-data", daemon=True)
    thread.start()
    return thread
