"""Batches across requests: whatever has come in while the last batch ran is the next one.

There is no waiting time: an idle network starts at once on the first item, and the busier it is,
the larger its batches become by themselves.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from aufleet.errors import DeadlineError, OverloadedError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waiting(Generic[Item, Answer]):
    item: Item
    deadline: float | None
    answer: "asyncio.Future[Answer]"


class Batcher(Generic[Item, Answer]):
    """Collects items of concurrent callers and runs them together, in a thread of its own."""

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Answer]],
        *,
        max_batch: int,
        max_waiting: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with an empty queue.

        Args:
            run: Returns one answer per item, in their order; called from one thread only.
            max_batch: The most items of one call of `run`.
            max_waiting: The most items that wait for their batch; more are told to come again.
            clock: In seconds; deadlines are times of this clock.
        """
        self._run, self._max_batch, self._max_waiting = run, max_batch, max_waiting
        self._clock = clock
        self._queue: deque[_Waiting[Item, Answer]] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="network")
        self._worker: asyncio.Task[None] | None = None
        self.last_batch_size = 0
        """Items of the last call of `run`."""

    @property
    def num_waiting(self) -> int:
        """Items that wait for their batch."""
        return len(self._queue)

    async def submit(self, item: Item, *, deadline: float | None = None) -> Answer:
        """Return the item's answer.

        A caller that is cancelled takes its item out of the queue.

        Raises:
            DeadlineError: The deadline passed before the item's turn; it was dropped.
            OverloadedError: Too many items wait already.
        """
        if len(self._queue) >= self._max_waiting:
            raise OverloadedError("too many faces are waiting", "try again in a moment")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(item=item, deadline=deadline, answer=answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    def close(self) -> None:
        """Drop what waits and let the thread end."""
        if self._worker is not None:
            self._worker.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        """Run batches until the queue is empty."""
        # One turn of the loop first: items that come at the same time share the first batch.
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            items = [waiting.item for waiting in batch]
            self.last_batch_size = len(items)
            try:
                answers = await loop.run_in_executor(self._thread, self._run, items)
            except Exception as error:
                for waiting in batch:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(error)
                continue
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(answer)

    def _next_batch(self) -> list[_Waiting[Item, Answer]]:
        batch: list[_Waiting[Item, Answer]] = []
        while self._queue and len(batch) < self._max_batch:
            waiting = self._queue.popleft()
            if waiting.answer.done():  # its caller has gone
                continue
            if waiting.deadline is not None and waiting.deadline <= self._clock():
                waiting.answer.set_exception(
                    DeadlineError("the deadline passed before the network had its turn")
                )
                continue
            batch.append(waiting)
        return batch
