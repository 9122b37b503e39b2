"""A process that hangs is ended; one that waits to be asked, or works slowly, is not."""

import subprocess
import sys
import threading

import pytest

from aufleet.training.watchdog import STALLED, Watchdog


def _program(body: str) -> subprocess.CompletedProcess:
    code = f"import time, threading\nfrom aufleet.training.watchdog import Watchdog\n{body}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_process_without_progress_is_ended_and_says_where_it_hung() -> None:
    done = _program(
        "def hang():\n    threading.Event().wait()\nwith Watchdog(limit_s=0.3):\n    hang()"
    )
    assert done.returncode == STALLED
    assert "no progress for" in done.stderr
    assert "in hang" in done.stderr


def test_a_process_whose_threads_get_no_turn_is_ended() -> None:
    # This call holds the interpreter's lock for ever.
    done = _program(
        "import ctypes\nwith Watchdog(limit_s=0.3) as dog:\n    time.sleep(0.2)\n"
        "    ctypes.PyDLL(None).sleep(50)"
    )
    assert done.returncode == 1
    assert "Timeout" in done.stderr


@pytest.fixture
def ended() -> list[float]:
    return []


def test_signs_of_progress_keep_a_process_alive(ended) -> None:
    wait = threading.Event().wait
    with Watchdog(limit_s=1.0, end=ended.append) as dog:
        assert list(dog.along(wait(0.3) for _ in range(5))) == [False] * 5
    assert ended == []


def test_waiting_to_be_asked_is_no_hanging(ended) -> None:
    wait = threading.Event().wait
    with Watchdog(limit_s=0.2, end=ended.append) as dog:
        assert dog.paused(lambda: wait(0.6)) is False
    assert ended == []


def test_no_limit_means_no_watching(ended) -> None:
    with Watchdog(limit_s=0, end=ended.append):
        threading.Event().wait(0.1)
    assert ended == []
    assert not [one for one in threading.enumerate() if one.name == "watchdog"]
