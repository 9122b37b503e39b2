import asyncio
from contextlib import ExitStack

import pytest

from aufleet.errors import OverloadedError
from aufleet.serving.quotas import FORGET_S, Quotas
from aufleet.serving.tokens import TokenRow


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def row(rate=0.0, calls=0, identifier="a"):
    return TokenRow(
        id=identifier,
        name="clinic",
        digest="",
        scopes=(),
        created_s=0,
        expires_s=1,
        rate_per_s=rate,
        max_calls=calls,
    )


def num_let_in(quotas, token, tries=100):
    count = 0
    for _ in range(tries):
        try:
            with quotas.entered(token):
                count += 1
        except OverloadedError:
            pass
    return count


def test_a_rate_lets_as_many_in_as_it_says(clock):
    quotas, token = Quotas(clock=clock), row(rate=5)
    assert num_let_in(quotas, token) == 5
    clock.now += 0.4
    assert num_let_in(quotas, token) == 2
    clock.now += 60
    assert num_let_in(quotas, token) == 5


def test_a_rate_below_one_lets_one_in_now_and_then(clock):
    quotas, token = Quotas(clock=clock), row(rate=0.1)
    assert num_let_in(quotas, token) == 1
    clock.now += 9
    assert num_let_in(quotas, token) == 0
    clock.now += 1.01
    assert num_let_in(quotas, token) == 1


def test_calls_at_the_same_time_are_counted_and_given_back(clock):
    quotas, token = Quotas(clock=clock), row(calls=2)
    with ExitStack() as inside:
        for _ in range(2):
            inside.enter_context(quotas.entered(token))
        with pytest.raises(OverloadedError, match="may make 2 calls at the same time"):
            inside.enter_context(quotas.entered(token))
        # Another caller's are its own, also after a long time.
        clock.now += FORGET_S + 1
        assert num_let_in(quotas, row(calls=1, identifier="b")) == 100
        assert num_let_in(quotas, token) == 0
    assert num_let_in(quotas, token) == 100


def test_a_call_that_fails_gives_its_place_back(clock):
    quotas, token = Quotas(clock=clock), row(calls=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="oh"), quotas.entered(token):
            raise ValueError("oh")


def test_without_limits_or_token_nobody_is_sent_away(clock):
    quotas = Quotas(clock=clock)
    assert num_let_in(quotas, None) == num_let_in(quotas, row()) == 100


def test_frames_of_a_stream_wait_for_their_turn():
    async def scenario():
        quotas, token = Quotas(), row(rate=50)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(60):
            await quotas.turn(token)
        return loop.time() - began

    assert asyncio.run(scenario()) >= 0.19
