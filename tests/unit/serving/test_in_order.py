import asyncio

import pytest

from aufleet.serving.in_order import Room, answer_in_order

ROOMY = Room(max_items=3, max_bytes=1000)


async def count(numbers, *, read=None, error=None):
    for number in range(numbers):
        if read is not None:
            read.append(number)
        yield number
    if error is not None:
        raise error


def test_answers_come_in_order_however_long_each_takes():
    async def scenario():
        started = []

        async def work(number):
            started.append(number)
            await asyncio.sleep(0.02 if number % 3 == 0 else 0)
            return number * 10

        found = answer_in_order(count(9), work, room=ROOMY, size_of=lambda _: 1)
        return [answer async for answer in found], started

    answers, started = asyncio.run(scenario())
    assert answers == [number * 10 for number in range(9)]
    assert started == [*range(9)]


@pytest.mark.parametrize(("room", "most"), [(ROOMY, 3), (Room(max_items=9, max_bytes=100), 2)])
def test_nothing_more_is_read_until_an_answer_is_taken(room, most):
    async def scenario():
        read, seen = [], []

        async def work(number):
            return number

        found = answer_in_order(count(8, read=read), work, room=room, size_of=lambda _: 60)
        async for number in found:
            for _ in range(20):  # every chance to read on
                await asyncio.sleep(0)
            seen.append(len(read) - number)
        return seen

    # The one whose answer is being taken counts too.
    assert max(asyncio.run(scenario())) == most


def test_an_error_of_reading_comes_after_the_answers_before_it():
    async def scenario():
        async def work(number):
            await asyncio.sleep(0.01)
            return number

        items = count(2, error=ValueError("wrong message"))
        found = answer_in_order(items, work, room=ROOMY, size_of=lambda _: 1)
        answers = [await anext(found), await anext(found)]
        with pytest.raises(ValueError, match="wrong message"):
            await anext(found)
        return answers

    assert asyncio.run(scenario()) == [0, 1]


def test_an_error_of_work_ends_the_others():
    async def scenario():
        cancelled = []

        async def work(number):
            if number == 0:
                await asyncio.sleep(0.01)
                raise ValueError("broken")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(number)
                raise

        with pytest.raises(ValueError, match="broken"):
            await anext(answer_in_order(count(9), work, room=ROOMY, size_of=lambda _: 1))
        return cancelled

    assert asyncio.run(scenario()) == [1, 2]


def test_closing_drops_the_work():
    async def scenario():
        cancelled = []

        async def work(number):
            if number == 0:
                return number
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(number)
                raise

        found = answer_in_order(count(9), work, room=ROOMY, size_of=lambda _: 1)
        first = await anext(found)
        await asyncio.sleep(0)
        await found.aclose()
        return first, cancelled

    first, cancelled = asyncio.run(scenario())
    assert first == 0
    assert cancelled == [1, 2]
