"""A function that reports as it goes, turned into one that is asked for its next report.

Training calls `report` after each epoch; Tune asks a trial for one result at a time. Between two
questions the training stands still, so that a trial that is not asked again has done no epoch in
vain and ends by itself.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

ReportT = TypeVar("ReportT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, kw_only=True)
class Ended(Generic[ResultT]):
    """The function returned."""

    result: ResultT


class Stepped(Generic[ReportT, ResultT]):
    """A running function, one report at a time."""

    def __init__(
        self,
        function: Callable[[Callable[[ReportT], bool]], ResultT],
        *,
        executor: ThreadPoolExecutor,
    ) -> None:
        """Prepare the function; it starts with the first `next`.

        Args:
            function: Called with its report function, which returns False when it shall end.
            executor: One thread that outlives the function: what libraries keep per thread stays
                warm for the next one.
        """
        self._function, self._executor = function, executor
        self._future: Future[ResultT] | None = None
        self._reports: queue.SimpleQueue[ReportT | None] = queue.SimpleQueue()
        self._go_on = threading.Semaphore(0)
        self._stopped = False

    def next(
        self, *, check: Callable[[], None] = lambda: None, check_every_s: float = 1.0
    ) -> ReportT | Ended[ResultT]:
        """Let the function run to its next report, or its end.

        Args:
            check: Called while waiting; what it raises ends the waiting.
            check_every_s: How often.

        Raises:
            Exception: Whatever the function raised.
        """
        if self._future is None:
            self._future = self._executor.submit(self._run)
        else:
            self._go_on.release()
        while True:
            try:
                report = self._reports.get(timeout=check_every_s)
            except queue.Empty:
                check()
                continue
            return Ended(result=self._future.result()) if report is None else report

    def stop(self, *, timeout_s: float | None = None) -> None:
        """Let the function end at its last report, and wait for it; its result is dropped.

        Raises:
            TimeoutError: It went on for longer.
        """
        if self._future is None:
            return
        self._stopped = True
        self._go_on.release()
        self._future.exception(timeout=timeout_s)

    def _run(self) -> ResultT:
        try:
            return self._function(self._report)
        finally:
            self._reports.put(None)

    def _report(self, report: ReportT) -> bool:
        if self._stopped:
            return False
        self._reports.put(report)
        self._go_on.acquire()
        return not self._stopped
