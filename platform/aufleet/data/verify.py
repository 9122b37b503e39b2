"""Checking every byte of a published data set against the digests in its manifest."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from aufleet.data.dataset import Dataset
from aufleet.data.manifest import ObjectReference, Partition
from aufleet.errors import ObjectCorruptError, ObjectMissingError

READERS = 4
"""Objects that are read at once, and held in memory: an object store answers many at a time."""

Named = Partition | ObjectReference


def verify_dataset(
    dataset: Dataset, *, progress: Callable[[int], None] | None = None
) -> list[ObjectCorruptError | ObjectMissingError]:
    """Return one error for each object that is damaged or gone; none where all is whole.

    The manifest's own digest was checked when the data set was opened. What a store does not give
    within the deadline is no damage and is raised.

    Args:
        dataset: What to check.
        progress: Called in this thread with the size in bytes of each object that was checked.

    Raises:
        StoreError: The store gives no answer or refuses the credentials.
    """
    damages = []
    for named, damage in _check_all(dataset, named_objects(dataset)):
        if damage:
            damages.append(damage)
        if progress:
            progress(named.size_bytes)
    return damages


def named_objects(dataset: Dataset) -> list[Named]:
    """Return everything that the manifest names, less what was deleted for a subject's sake."""
    listed, gone = dataset.manifest.unusable_list, dataset.withdrawn_keys()
    named = [*dataset.manifest.partitions, *([listed] if listed else [])]
    return [one for one in named if one.key not in gone]


Damage = ObjectCorruptError | ObjectMissingError | None


def _check_all(dataset: Dataset, objects: list[Named]) -> Iterator[tuple[Named, Damage]]:
    pool = ThreadPoolExecutor(READERS)
    try:
        left = iter(objects)
        waiting: deque[tuple[Named, Future[Damage]]] = deque()
        while True:
            for named in islice(left, READERS - len(waiting)):
                waiting.append((named, pool.submit(_check, dataset, named)))
            if not waiting:
                return
            named, checked = waiting.popleft()
            yield named, checked.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _check(dataset: Dataset, named: Named) -> Damage:
    try:
        if isinstance(named, Partition):
            dataset.read_partition(named)
        else:
            dataset.store.read_verified(named.key, sha256=named.sha256)
    except (ObjectCorruptError, ObjectMissingError) as damage:
        return damage
    return None
