"""The loader where trials run: in a Ray actor, with processes that decode."""

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import ray

from aufleet.cli.ray_session import ray_session
from aufleet.data.cache import NodeCache
from aufleet.data.dataset import Dataset, open_dataset
from aufleet.data.loader import FoldLoader
from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.records import FrameRecord
from aufleet.storage import Store

pytestmark = pytest.mark.ray


@pytest.fixture
def dataset(local_store: Store) -> Dataset:
    spec = DatasetSpec(name="faces", version="1", units=(1,), source="a test", seed=0)
    random = np.random.default_rng(0)

    def record(subject: str, row: int) -> FrameRecord:
        picture = random.integers(0, 255, (200, 200, 3), dtype=np.uint8)
        return FrameRecord(
            subject=subject,
            sequence="T1",
            frame=row,
            jpeg=cv2.imencode(".jpg", picture)[1].tobytes(),
            landmarks=random.uniform(20, 180, (49, 2)).astype(np.float32),
            landmark_source="exact",
            units=(row % 2,),
        )

    subjects = ((f"S{n}", [record(f"S{n}", row) for row in range(6)]) for n in range(6))
    publish_dataset(subjects, spec=spec, store=local_store)
    return open_dataset(local_store.uri_of("datasets/faces/1"))


class Holder:
    """An actor that loads as a trial does."""

    def __init__(self, dataset: Dataset, folder: str) -> None:
        self.loader = FoldLoader(
            dataset,
            subjects=dataset.manifest.subjects,
            batch=8,
            seed=1,
            augment=True,
            cache=NodeCache(folder=Path(folder)),
            workers=1,
            keep_decoded_bytes=0,
        )

    def epoch(self, number: int) -> list[bytes]:
        return [batch["frames"].numpy().tobytes() for batch in self.loader.epoch(number)]

    def family(self) -> list[int]:
        """Return the processes below the actor."""
        found = [os.getpid()]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        return found[1:]


def test_an_actor_loads_the_same_bits_and_its_processes_end_with_it(dataset, tmp_path) -> None:
    here = FoldLoader(dataset, subjects=dataset.manifest.subjects, batch=8, seed=1, augment=True)
    expected = [batch["frames"].numpy().tobytes() for batch in here.epoch(2)]
    with ray_session(num_cpus=1):
        actor = ray.remote(Holder).remote(dataset, str(tmp_path / "cache"))

        assert ray.get(actor.epoch.remote(2), timeout=200) == expected
        family = ray.get(actor.family.remote())
        assert family
        # As a crash ends it: nothing is told to anybody.
        ray.kill(actor)
        deadline = time.monotonic() + 30
        while any(map(is_alive, family)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not any(map(is_alive, family))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
