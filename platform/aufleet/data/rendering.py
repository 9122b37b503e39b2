"""Rendering many synthetic subjects at once, one process per core."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice

from aufleet.data.records import FrameRecord
from aufleet.data.synthetic import SyntheticSettings, render_subject

Subject = tuple[str, list[FrameRecord]]


def render_in_parallel(
    settings: SyntheticSettings, *, processes: int | None = None
) -> Generator[Subject]:
    """Yield every subject with its frames, in order; the same for any number of processes.

    At most two subjects per process are in memory. Closing the generator, or an interrupt, ends
    the processes after the subjects that they are drawing.

    Args:
        settings: What to render.
        processes: By default one per core that this process may use.
    """
    count = processes or len(os.sched_getaffinity(0))
    # Spawned: a forked child would inherit the threads' locks of whatever runs here.
    pool = ProcessPoolExecutor(
        min(count, settings.num_subjects),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
    )
    try:
        indices = iter(range(settings.num_subjects))
        waiting: deque[Future[Subject]] = deque()
        while True:
            for index in islice(indices, 2 * count - len(waiting)):
                waiting.append(pool.submit(render_subject, settings, index))
            if not waiting:
                break
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    import cv2

    # Ctrl-C reaches the whole terminal: the parent decides when the workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
