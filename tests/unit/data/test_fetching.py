"""Many slow things at once; a second request where one is slow; work ahead."""

import threading
import time
from collections.abc import Iterator

import pytest

from aufleet.data.fetching import (
    FIRST_PATIENCE_S,
    SHORTEST_PATIENCE_S,
    Pace,
    ahead,
    ask_twice_if_slow,
    in_parallel,
)


class Asked:
    """Answers one request after another: a value, an error, or silence until it is let go."""

    def __init__(self, *answers: object) -> None:
        self.answers, self.count = list(answers), 0
        self.let_go = threading.Event()

    def __call__(self) -> object:
        answer = self.answers[self.count]
        self.count += 1
        if answer == "silence":
            self.let_go.wait(30)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_quick_answer_is_asked_for_once() -> None:
    ask = Asked("first")

    assert ask_twice_if_slow(ask, patience_s=lambda: 5) == "first"

    assert ask.count == 1


def test_a_slow_answer_is_overtaken_by_the_second() -> None:
    ask = Asked("silence", "second")

    assert ask_twice_if_slow(ask, patience_s=lambda: 0.2) == "second"

    ask.let_go.set()


def test_a_second_request_that_fails_leaves_the_first_its_chance() -> None:
    ask = Asked("silence", ValueError("second"))
    threading.Timer(0.5, ask.let_go.set).start()

    assert ask_twice_if_slow(ask, patience_s=lambda: 0.1) == "silence"


def test_an_error_is_raised_at_once_and_not_asked_for_again() -> None:
    ask = Asked(ValueError("refused"))

    with pytest.raises(ValueError, match="refused"):
        ask_twice_if_slow(ask, patience_s=lambda: 5)

    assert ask.count == 1


def test_patience_follows_the_usual_pace() -> None:
    pace = Pace()
    assert pace.patience_s(10**9) == FIRST_PATIENCE_S
    for _ in range(5):
        pace.note(seconds=1.0, size_bytes=1000)
    pace.note(seconds=100.0, size_bytes=1000)
    assert pace.patience_s(4000) == 16.0
    assert pace.patience_s(10) == SHORTEST_PATIENCE_S


def test_results_come_in_the_order_of_the_items_whatever_finishes_first() -> None:
    def slowest_first(number: int) -> int:
        time.sleep(0.002 * (20 - number))
        return number * number

    assert in_parallel(slowest_first, range(20)) == [number**2 for number in range(20)]
    assert in_parallel(slowest_first, []) == []


def test_an_error_does_not_wait_for_what_is_slow() -> None:
    let_go = threading.Event()

    def work(number: int) -> None:
        if number == 3:
            raise ValueError("number 3")
        let_go.wait(30)

    began = time.monotonic()
    with pytest.raises(ValueError, match="number 3"):
        in_parallel(work, range(6))
    assert time.monotonic() - began < 10
    let_go.set()


def test_work_ahead_keeps_order_and_passes_errors_on() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("after five")

    found = []
    with pytest.raises(ValueError, match="after five"):
        found.extend(ahead(items(), depth=2))
    assert list(ahead(iter("abc"), depth=1)) == ["a", "b", "c"]


def test_work_ahead_is_bounded_and_ends_when_it_is_closed() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    before = threading.active_count()
    running = ahead(items(), depth=2)
    assert [next(running), next(running)] == [0, 1]
    time.sleep(0.3)
    assert len(made) <= 6
    running.close()
    assert threading.active_count() == before
