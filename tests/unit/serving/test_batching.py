import asyncio
import threading

import pytest

from aufleet.errors import DeadlineError, OverloadedError
from aufleet.serving.batching import Batcher


class Network:
    """Doubles numbers, and remembers its batches; the first one waits until it is released."""

    def __init__(self):
        self.batches, self.released, self.began = [], threading.Event(), threading.Event()

    def __call__(self, items):
        self.batches.append(list(items))
        self.began.set()
        assert self.released.wait(timeout=10)
        if "bad" in items:
            raise ValueError("bad item")
        return [2 * item for item in items]


@pytest.fixture
def network():
    return Network()


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def submit(batcher, *items, deadline=None, turn=""):
    return [
        asyncio.ensure_future(batcher.submit(item, deadline=deadline, turn=turn)) for item in items
    ]


def test_what_waits_while_a_batch_runs_is_the_next_batch(network):
    async def scenario():
        batcher = Batcher(network, max_batch=4, max_waiting=9)
        first = submit(batcher, 1)
        await until(network.began.is_set)
        others = submit(batcher, 2, 3, 4, 5, 6)
        await asyncio.sleep(0)
        network.released.set()
        assert await asyncio.gather(*first, *others) == [2, 4, 6, 8, 10, 12]
        batcher.close()

    asyncio.run(scenario())
    assert network.batches == [[1], [2, 3, 4, 5], [6]]


def test_an_item_whose_deadline_passed_is_dropped_before_the_network(network):
    now = [0.0]

    async def scenario():
        batcher = Batcher(network, max_batch=4, max_waiting=9, clock=lambda: now[0])
        first = submit(batcher, 1)
        await until(network.began.is_set)
        late, fine = submit(batcher, 2, deadline=1.0), submit(batcher, 3, deadline=9.0)
        await asyncio.sleep(0)
        now[0] = 2.0
        network.released.set()
        assert await asyncio.gather(*first, *fine) == [2, 6]
        with pytest.raises(DeadlineError):
            await late[0]
        batcher.close()

    asyncio.run(scenario())
    assert network.batches == [[1], [3]]


def test_a_caller_that_has_gone_takes_its_item_along(network):
    async def scenario():
        batcher = Batcher(network, max_batch=4, max_waiting=9)
        first = submit(batcher, 1)
        await until(network.began.is_set)
        gone, stays = submit(batcher, 2, 3)
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        network.released.set()
        assert await asyncio.gather(*first, stays) == [2, 6]
        batcher.close()

    asyncio.run(scenario())
    assert network.batches == [[1], [3]]


def test_an_error_reaches_its_batch_and_the_next_batch_runs(network):
    network.released.set()

    async def scenario():
        batcher = Batcher(network, max_batch=2, max_waiting=9)
        answers = await asyncio.gather(*submit(batcher, "bad", 1), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ValueError, ValueError]
        assert await batcher.submit(4) == 8
        batcher.close()

    asyncio.run(scenario())


def test_more_items_than_may_wait_are_sent_away_at_once(network):
    async def scenario():
        batcher = Batcher(network, max_batch=4, max_waiting=2)
        first = submit(batcher, 1)
        await until(network.began.is_set)
        second, third, fourth = submit(batcher, 2, 3, 4)
        with pytest.raises(OverloadedError):
            await fourth
        network.released.set()
        assert await asyncio.gather(*first, second, third) == [2, 4, 6]
        batcher.close()

    asyncio.run(scenario())


def test_who_sends_much_does_not_keep_others_waiting(network):
    async def scenario():
        batcher = Batcher(network, max_batch=2, max_waiting=99)
        first = submit(batcher, 0)
        await until(network.began.is_set)
        calls = submit(batcher, 1, 2, 3, 4, 5, turn="stream")
        await asyncio.sleep(0)
        calls += submit(batcher, 10, 11, turn="one") + submit(batcher, 20, turn="two")
        await asyncio.sleep(0)
        assert batcher.num_waiting == 8
        network.released.set()
        await asyncio.gather(*first, *calls)
        assert batcher.num_waiting == 0
        batcher.close()

    asyncio.run(scenario())
    assert network.batches == [[0], [1, 10], [20, 2], [11, 3], [4, 5]]


def test_an_item_that_would_be_answered_too_late_is_refused_at_once(network):
    now = [0.0]

    def take_a_second_each(items):
        answers = network(items)
        now[0] += len(items)
        return answers

    async def scenario():
        batcher = Batcher(take_a_second_each, max_batch=8, max_waiting=9, clock=lambda: now[0])
        batcher._item_s = 1.0
        # Alone an item has its chance, whatever is known of the network.
        first = submit(batcher, 1, deadline=0.5)
        await until(network.began.is_set)
        others = submit(batcher, 2, 3, 4, deadline=9.0, turn="video")
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match=r"come first take 6\.0 s"):
            await batcher.submit(5, deadline=4.0, turn="video")
        # Who has sent nothing yet waits for one of each turn only.
        light = submit(batcher, 6, deadline=4.0, turn="photo")
        await asyncio.sleep(0)
        network.released.set()
        assert await asyncio.gather(*first, *others, *light) == [2, 4, 6, 8, 12]
        batcher.close()

    asyncio.run(scenario())


def test_a_full_batch_leaves_out_what_it_would_make_late(network):
    assert behind_a_busy_network(network, {2: 9.0, 3: 1.5}) == [4, DeadlineError]
    assert network.batches == [[1], [2]]


def test_a_network_that_leaves_an_item_out_is_an_error_and_the_next_batch_runs():
    async def scenario():
        batcher = Batcher(lambda items: items[1:] or items, max_batch=4, max_waiting=9)
        for answer in await asyncio.gather(*submit(batcher, 1, 2), return_exceptions=True):
            assert str(answer) == "1 answers for 2 items"
        assert await batcher.submit(3) == 3
        batcher.close()

    asyncio.run(scenario())


def test_a_batch_that_is_late_as_a_whole_does_not_stop_the_others(network):
    answers = behind_a_busy_network(network, {2: 1.5, 3: 1.5, 4: 9.0})
    assert answers == [DeadlineError, DeadlineError, 8]


def behind_a_busy_network(network, deadlines: dict[int, float]) -> list:
    """Return answers, or kinds of errors, of items that wait until 1.0 where each takes 2.0 s."""
    now = [0.0]

    async def scenario() -> list:
        batcher = Batcher(network, max_batch=2, max_waiting=9, clock=lambda: now[0])
        first = submit(batcher, 1)
        await until(network.began.is_set)
        calls = [submit(batcher, item, deadline=end)[0] for item, end in deadlines.items()]
        await asyncio.sleep(0)
        batcher._item_s, now[0] = 2.0, 1.0
        network.released.set()
        assert await first[0] == 2
        answers = await asyncio.gather(*calls, return_exceptions=True)
        batcher.close()
        return [type(one) if isinstance(one, Exception) else one for one in answers]

    return asyncio.run(scenario())
