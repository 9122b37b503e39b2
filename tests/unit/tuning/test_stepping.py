"""A reporting function, one report at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aufleet.tuning.stepping import Ended, Stepped


@pytest.fixture
def executor():
    with ThreadPoolExecutor(max_workers=1) as made:
        yield made


def counting(upto, log):
    def function(report):
        for number in range(1, upto + 1):
            log.append(number)
            if not report(number):
                return "stopped"
        return "done"

    return function


def test_reports_come_one_by_one_and_then_the_end(executor):
    steps = Stepped(counting(2, []), executor=executor)
    assert [steps.next(), steps.next(), steps.next()] == [1, 2, Ended(result="done")]


def test_nothing_runs_ahead_of_the_questions(executor):
    log = []
    steps = Stepped(counting(5, log), executor=executor)
    steps.next()
    assert log == [1]
    steps.stop()


def test_a_function_that_is_stopped_ends_at_its_last_report(executor):
    log = []
    steps = Stepped(counting(5, log), executor=executor)
    steps.next()
    steps.stop(timeout_s=10)
    assert log == [1]


def test_a_function_that_never_started_needs_no_stop(executor):
    Stepped(counting(5, []), executor=executor).stop()


def test_an_error_reaches_who_asks(executor):
    def function(report):
        report(1)
        raise ValueError("broken")

    steps = Stepped(function, executor=executor)
    steps.next()
    with pytest.raises(ValueError, match="broken"):
        steps.next()


def test_waiting_ends_when_the_check_raises(executor):
    release = threading.Event()
    steps = Stepped(lambda report: release.wait(), executor=executor)

    def check():
        raise RuntimeError("a rank died")

    with pytest.raises(RuntimeError, match="a rank died"):
        steps.next(check=check, check_every_s=0.01)
    release.set()


def test_every_function_runs_in_the_same_thread(executor):
    threads = []
    for _ in range(3):
        Stepped(lambda report: threads.append(threading.get_ident()), executor=executor).next()
    assert len(set(threads)) == 1
