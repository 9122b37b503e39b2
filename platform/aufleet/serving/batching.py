"""Batches across requests: whatever has come in while the last batch ran is the next one.

There is no waiting time: an idle network starts at once on the first item, and the busier it is,
the larger its batches become by themselves. Requests and streams take turns, item by item: whoever
sends much waits for that himself.

An answer that comes too late is work for nothing, and under overload it would soon be all the work
there is: so an item is refused at once where the queue is longer than its deadline allows, by what
items took lately.
"""

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

from aufleet.errors import DeadlineError, OverloadedError

LATELY = 0.3
"""How much the last batch counts in what an item took lately."""
DOUBT = 1.2
"""How much longer than lately an item may take."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Done = TypeVar("Done")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waiting(Generic[Item, Answer]):
    item: Item
    deadline: float | None
    answer: "asyncio.Future[Answer]"


_Batch = list[_Waiting[Item, Answer]]


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
        self._queues: OrderedDict[str, deque[_Waiting[Item, Answer]]] = OrderedDict()
        self._num_waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_running = False
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.last_batch_size = 0
        """Items of the last call of `run`."""
        self._num_running, self._item_s = 0, 0.0
        """Items of the present call of `run`; what an item took lately."""
        # A thread of our own: an executor's futures take longer than a small network.
        threading.Thread(target=self._run_work, name="network", daemon=True).start()

    @property
    def num_waiting(self) -> int:
        """Items that wait for their batch."""
        return self._num_waiting

    async def submit(self, item: Item, *, deadline: float | None = None, turn: str = "") -> Answer:
        """Return the item's answer.

        A caller that is cancelled takes its item out of the queue.

        Args:
            item: What is to be answered.
            deadline: By the clock; None for any time.
            turn: Items of the same turn wait for each other, others come in between.

        Raises:
            DeadlineError: The deadline passed before the item's turn; it was dropped.
            OverloadedError: Too many items wait already, or more than the deadline allows.
        """
        if self._num_waiting >= self._max_waiting:
            raise OverloadedError("too many faces are waiting", "try again in a moment")
        self._check_time(deadline, turn=turn)
        self._loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = self._loop.create_future()
        waiting = _Waiting(item=item, deadline=deadline, answer=answer)
        self._queues.setdefault(turn, deque()).append(waiting)
        self._num_waiting += 1
        if not self._is_running:
            self._is_running = True
            # One turn of the loop first: items that come at the same time share the first batch.
            self._loop.call_soon(self._begin_batch)
        return await answer

    async def do(self, work: Callable[[], Done]) -> Done:
        """Return what `work` returns, or raise what it raises; in the thread of `run`."""
        done: Future[Done] = Future()

        def do() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        self._work.put(do)
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """Let the thread end after the present batch."""
        self._work.put(None)

    def _check_time(self, deadline: float | None, *, turn: str) -> None:
        """Refuse an item that would be answered too late.

        Raises:
            OverloadedError: What comes before it takes longer than its deadline allows.
        """
        if deadline is None or not self._item_s:
            return
        own = len(self._queues.get(turn, ()))
        before = sum(min(len(queue), own + 1) for queue in self._queues.values())
        if not before + self._num_running:
            return
        # Behind a full batch its own will be full, too, and is answered as a whole.
        company = self._max_batch if before >= self._max_batch else 1
        wait_s = (before + self._num_running + company) * self._item_s * DOUBT
        if self._clock() + wait_s > deadline:
            raise OverloadedError(
                f"the faces that come first take {wait_s:.1f} s, and the deadline is sooner",
                "try again in a moment",
            )

    def _begin_batch(self) -> None:
        """Hand the next batch to the thread, if anything waits."""
        batch = self._next_batch()
        while self._queues and not batch:  # all of them were late
            batch = self._next_batch()
        self._num_running, self._is_running = len(batch), bool(batch)
        if batch:
            self.last_batch_size = len(batch)
            self._work.put(partial(self._run_batch, batch))

    def _run_work(self) -> None:
        """Do one thing after the other; what the thread runs."""
        while (work := self._work.get()) is not None:
            work()

    def _run_batch(self, batch: _Batch[Item, Answer]) -> None:
        began, answers, error = self._clock(), [], None
        try:
            answers = list(self._run([waiting.item for waiting in batch]))
            if len(answers) != len(batch):
                raise ValueError(f"{len(answers)} answers for {len(batch)} items")
        except Exception as raised:
            error = raised
        took_s = self._clock() - began
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(self._end_batch, batch, answers, error, took_s)

    def _end_batch(
        self,
        batch: "_Batch[Item, Answer]",
        answers: Sequence[Answer],
        error: Exception | None,
        took_s: float,
    ) -> None:
        """Give each item its answer, or the error, and begin the next batch."""
        if error is None:
            self._item_s += LATELY * (took_s / len(batch) - self._item_s)
        for number, waiting in enumerate(batch):
            if waiting.answer.done():  # its caller has gone
                continue
            if error is None:
                waiting.answer.set_result(answers[number])
            else:
                waiting.answer.set_exception(error)
        self._begin_batch()

    def _next_batch(self) -> _Batch[Item, Answer]:
        batch: _Batch[Item, Answer] = []
        while self._queues and len(batch) < self._max_batch:
            waiting = self._next()
            if not waiting.answer.done():  # else its caller has gone
                batch += self._in_time([waiting])
        if len(batch) < self._max_batch or not batch[1:]:
            return batch
        # More wait than can be answered: who would come late even so makes room.
        return self._in_time(batch, need_s=len(batch) * self._item_s)

    def _in_time(self, batch: _Batch[Item, Answer], *, need_s: float = 0.0) -> _Batch[Item, Answer]:
        """Return the items whose deadline is later than what they need; drop the others."""
        ready_s, kept = self._clock() + need_s, list[_Waiting[Item, Answer]]()
        for waiting in batch:
            if waiting.deadline is None or waiting.deadline > ready_s:
                kept.append(waiting)
            else:
                waiting.answer.set_exception(
                    DeadlineError("the deadline passed before the network had its turn")
                )
        return kept

    def _next(self) -> _Waiting[Item, Answer]:
        """Take the first item of whose turn it is; the next one has the next turn."""
        turn, queue = self._queues.popitem(last=False)
        waiting = queue.popleft()
        if queue:
            self._queues[turn] = queue
        self._num_waiting -= 1
        return waiting
