"""Loading through a store that fails, stalls, lies or is away; and once per node only."""

import hashlib
import multiprocessing
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from faults.proxy import FaultProxy

from aufleet.data import shard_reader
from aufleet.data.cache import NodeCache
from aufleet.data.dataset import Dataset, open_dataset
from aufleet.data.fetching import Pace
from aufleet.data.loader import FoldLoader
from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.records import FrameRecord
from aufleet.errors import ObjectCorruptError, StoreUnavailableError
from aufleet.storage import Store

pytestmark = pytest.mark.s3

NUM_SUBJECTS = 30
SPEC = DatasetSpec(name="faces", version="1", units=(1, 12), source="a test", seed=0)


def _subjects() -> Iterator[tuple[str, list[FrameRecord]]]:
    random = np.random.default_rng(0)
    for number in range(NUM_SUBJECTS):
        name = f"S{number:02d}"
        yield name, [_record(name, frame, random) for frame in range(4)]


def _record(subject: str, frame: int, random: np.random.Generator) -> FrameRecord:
    picture = cv2.resize(random.integers(0, 255, (20, 20, 3), dtype=np.uint8), (200, 200))
    return FrameRecord(
        subject=subject,
        sequence="T1",
        frame=frame,
        jpeg=cv2.imencode(".jpg", picture)[1].tobytes(),
        landmarks=random.uniform(20, 180, (49, 2)).astype(np.float32),
        landmark_source="exact",
        units=(frame % 2, 9),
    )


@pytest.fixture
def dataset(s3_store: Store, s3_proxy: FaultProxy) -> Dataset:
    """A data set behind the proxy, which has not failed yet."""
    publish_dataset(_subjects(), spec=SPEC, store=s3_store)
    opened = open_dataset(s3_store.uri_of("datasets/faces/1"))
    s3_proxy.requests.clear()
    return opened


@pytest.fixture(autouse=True)
def unknown_pace(monkeypatch) -> None:
    """No test knows how fast the store was in another one."""
    monkeypatch.setattr(shard_reader, "_pace", Pace())


def loader_of(dataset: Dataset, cache: Path | None) -> FoldLoader:
    return FoldLoader(
        dataset,
        subjects=dataset.manifest.subjects,
        batch=16,
        seed=3,
        augment=True,
        cache=NodeCache(folder=cache) if cache else None,
    )


def digest_of(loader: FoldLoader, *, epoch: int = 1) -> str:
    """Return a digest of every bit of an epoch."""
    found = hashlib.sha256()
    for batch in loader.epoch(epoch):
        for name in sorted(batch):
            found.update(batch[name].numpy().tobytes())
    return found.hexdigest()


def test_an_epoch_is_the_same_when_a_tenth_of_all_requests_fail(
    dataset, s3_proxy, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("AUFLEET_STORE_DEADLINE_S", "12")
    expected = digest_of(loader_of(dataset, None))
    s3_proxy.rate, s3_proxy.stall_s, s3_proxy.slow_s = 0.1, 5.0, 2.0

    found = {digest_of(loader_of(dataset, tmp_path / str(number))) for number in range(3)}

    assert found == {expected}
    assert s3_proxy.num_faults >= 5
    assert len({one.fault for one in s3_proxy.requests}) >= 4
    names = [file.name.split(".")[0] for file in (tmp_path / "0").glob("*.shard")]
    assert sorted(names) == sorted(one.sha256 for one in dataset.manifest.partitions)


def test_a_store_that_stays_away_is_one_clear_error(dataset, s3_proxy, monkeypatch) -> None:
    monkeypatch.setenv("AUFLEET_STORE_DEADLINE_S", "2")
    s3_proxy.away = True
    began = time.monotonic()

    complaint = (
        r"^reading s3://aufleet/.*/subject=S\d\d/[0-9a-f]{64}\.parquet got no answer within 2 s"
    )
    with pytest.raises(StoreUnavailableError, match=complaint):
        loader_of(dataset, None)

    assert time.monotonic() - began < 10


def test_a_store_that_comes_back_in_time_costs_only_time(dataset, s3_proxy, tmp_path) -> None:
    expected = digest_of(loader_of(dataset, None))
    s3_proxy.away = True
    back = threading.Timer(2, setattr, (s3_proxy, "away", False))
    back.start()

    assert digest_of(loader_of(dataset, tmp_path)) == expected

    back.join()


@pytest.mark.parametrize("cached", [True, False])
def test_a_shard_with_one_flipped_bit_is_refused_by_name(dataset, tmp_path, cached) -> None:
    partition = dataset.partition("S07")
    data = bytearray(dataset.store.read(partition.key))
    data[len(data) // 2] ^= 1
    dataset.store.write(partition.key, bytes(data))

    complaint = f"{partition.key} has sha256 [0-9a-f]+ but {partition.sha256[:12]} was written"
    with pytest.raises(ObjectCorruptError, match=complaint):
        loader_of(dataset, tmp_path if cached else None)

    assert not list(tmp_path.glob(f"{partition.sha256}*"))


def test_nobody_waits_for_one_slow_shard(dataset, s3_proxy, tmp_path) -> None:
    expected = digest_of(loader_of(dataset, None))
    s3_proxy.requests.clear()
    s3_proxy.slow_s = 120.0
    s3_proxy.fail_next("slow", key="subject=S11")
    began = time.monotonic()

    assert digest_of(loader_of(dataset, tmp_path)) == expected

    assert time.monotonic() - began < 40
    assert s3_proxy.count("GET", key="subject=S11") == 2
    assert s3_proxy.count("GET", key=".parquet") == NUM_SUBJECTS + 1


def _load(dataset: Dataset, cache: Path, started, digests) -> None:
    started.wait()
    loader = loader_of(dataset, cache)
    digests.put([digest_of(loader, epoch=epoch) for epoch in range(3)])


def test_processes_of_a_node_download_each_shard_once_together(dataset, s3_proxy, tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    started, digests = context.Event(), context.SimpleQueue()
    processes = [
        context.Process(target=_load, args=(dataset, tmp_path, started, digests)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    started.set()
    found = [digests.get() for _ in processes]
    for process in processes:
        process.join(60)

    assert found == [found[0]] * 4
    counts = [s3_proxy.count("GET", key=one.key) for one in dataset.manifest.partitions]
    assert counts == [1] * NUM_SUBJECTS
