"""No process is left behind, also where Ray's start is interrupted half-way.

Ray's agents are children of its raylet, and a raylet that is killed early leaves them to process 1.
So this process adopts orphans of its own family, and at the end stops what is still there.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 3.0
"""Processes that are ending may take this long."""


@contextmanager
def no_orphans() -> Iterator[None]:
    """Stop every process that was started in the body, directly or not, when it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    this = psutil.Process()
    before = set(this.children(recursive=True))
    try:
        yield
    finally:
        started = set(this.children(recursive=True)) - before
        _, left = psutil.wait_procs(started, timeout=GRACE_S)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=GRACE_S)
