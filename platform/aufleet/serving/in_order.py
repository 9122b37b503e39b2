"""Work on the items of a stream side by side, answered in their order, within a bounded room."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Room:
    """How much of a stream may be under way; it is left when an answer has been taken."""

    max_items: int
    """Items that are read and not yet answered, or whose answer is not yet taken."""
    max_bytes: int
    """Nothing more is read once these items are together this large."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _UnderWay(Generic[Answer]):
    answer: "asyncio.Future[Answer]"
    size_bytes: int


async def answer_in_order(
    items: AsyncIterator[Item],
    work: Callable[[Item], Awaitable[Answer]],
    *,
    room: Room,
    size_of: Callable[[Item], int],
) -> AsyncGenerator[Answer, None]:
    """Yield the answer of each item, in the order of the items.

    The next item is read only while there is room, so whoever takes answers slowly is also read
    slowly, and what is held stays bounded. The first error, of an item's work or of reading, is
    raised in its place: after the answers before it. Closing the iterator drops all work.

    Args:
        items: Read by this function only.
        work: Returns an item's answer; called for several items at the same time.
        room: How much may be under way.
        size_of: Bytes of an item.
    """
    queue: asyncio.Queue[_UnderWay[Answer] | None] = asyncio.Queue()
    taken = asyncio.Event()
    held: list[_UnderWay[Answer]] = []

    async def read() -> None:
        try:
            while True:
                while not _has_place(held, room):
                    taken.clear()
                    await taken.wait()
                item = await anext(items)
                begin(asyncio.ensure_future(work(item)), size_of(item))
                del item
        except StopAsyncIteration:
            queue.put_nowait(None)
        except Exception as error:
            failed: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            begin(failed, 0)

    def begin(answer: "asyncio.Future[Answer]", size_bytes: int) -> None:
        entry = _UnderWay(answer=answer, size_bytes=size_bytes)
        held.append(entry)
        queue.put_nowait(entry)

    reader = asyncio.create_task(read())
    try:
        while (entry := await queue.get()) is not None:
            yield await entry.answer
            held.remove(entry)
            taken.set()
    finally:
        await _drop([reader, *(entry.answer for entry in held)])


def _has_place(held: list[_UnderWay[Answer]], room: Room) -> bool:
    size_bytes = sum(entry.size_bytes for entry in held)
    return len(held) < room.max_items and size_bytes < room.max_bytes


async def _drop(tasks: "list[asyncio.Future]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
