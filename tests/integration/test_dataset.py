"""Data sets on a real S3 server: publishing, reading back, races and damage."""

import threading
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from aufleet.data.dataset import Dataset, open_dataset
from aufleet.data.loader import FoldLoader
from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.records import FrameRecord
from aufleet.errors import AlreadyExistsError, ObjectCorruptError, ObjectMissingError
from aufleet.storage import Store

pytestmark = pytest.mark.s3

SPEC = DatasetSpec(name="faces", version="1", units=(1, 12), source="a test", seed=0)
Subjects = list[tuple[str, list[FrameRecord]]]


def subjects_painted(red: int) -> Subjects:
    """Return six subjects of three frames whose red channel tells who published them."""
    picture = np.zeros((200, 200, 3), dtype=np.uint8)
    picture[..., 2] = red
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    points = np.random.default_rng(0).uniform(20, 180, (49, 2)).astype(np.float32)
    return [
        (
            f"S{number}",
            [
                FrameRecord(
                    subject=f"S{number}",
                    sequence="T1",
                    frame=frame,
                    jpeg=jpeg,
                    landmarks=points,
                    landmark_source="exact",
                    units=(frame % 2, 9),
                )
                for frame in range(3)
            ],
        )
        for number in range(6)
    ]


@pytest.fixture
def dataset(s3_store: Store) -> Dataset:
    publish_dataset(subjects_painted(10), spec=SPEC, store=s3_store)
    return open_dataset(s3_store.uri_of("datasets/faces/1"))


def test_a_data_set_published_to_s3_is_loaded_from_it(dataset) -> None:
    fold = dataset.fold(2)

    loader = FoldLoader(dataset, subjects=fold.train, batch=4, seed=0, augment=True)
    batches = list(loader.epoch(0))

    assert sum(len(batch["index"]) for batch in batches) == 3 * len(fold.train) == loader.num_frames


def test_publishing_again_to_s3_changes_nothing(dataset, s3_store) -> None:
    before = s3_store.keys()

    manifest = publish_dataset(subjects_painted(10), spec=SPEC, store=s3_store)

    assert manifest == dataset.manifest
    assert s3_store.keys() == before


def test_a_flipped_bit_in_s3_is_refused_by_name(dataset) -> None:
    partition = dataset.partition("S3")
    data = bytearray(dataset.store.read(partition.key))
    data[len(data) // 2] ^= 1
    dataset.store.write(partition.key, bytes(data))

    with pytest.raises(ObjectCorruptError, match=rf"s3://.*/{partition.key}"):
        dataset.read_subject("S3")


def test_a_partition_missing_from_s3_is_named(dataset) -> None:
    partition = dataset.partition("S3")
    dataset.store.delete(partition.key)

    with pytest.raises(ObjectMissingError, match=rf"s3://.*/{partition.key}"):
        FoldLoader(dataset, subjects=["S2", "S3"], batch=4, seed=0, augment=False)


def test_of_two_publishers_of_one_version_exactly_one_wins_whole(s3_store) -> None:
    for round_number in range(5):
        store = s3_store.child(f"round{round_number}")
        winners, losers = race(store, reds=(40, 200))

        assert len(winners) == 1
        assert [type(error) for error in losers] == [AlreadyExistsError]
        dataset = open_dataset(store.uri_of("datasets/faces/1"))
        seen = {
            red_of(jpeg) for name in dataset.manifest.subjects for jpeg in pictures(dataset, name)
        }
        assert seen == set(winners)


def race(store: Store, *, reds: tuple[int, int]) -> tuple[list[int], list[Exception]]:
    """Publish two contents at the same moment; return who won and how the others lost."""
    winners: list[int] = []
    losers: list[Exception] = []
    together = threading.Barrier(len(reds))

    def publisher(red: int) -> Callable[[], None]:
        subjects = subjects_painted(red)

        def publish() -> None:
            together.wait()
            try:
                publish_dataset(subjects, spec=SPEC, store=store)
            except AlreadyExistsError as error:
                losers.append(error)
            else:
                winners.append(red)

        return publish

    threads = [threading.Thread(target=publisher(red)) for red in reds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return winners, losers


def pictures(dataset: Dataset, subject: str) -> tuple[bytes, ...]:
    return dataset.read_subject(subject).jpeg


def red_of(jpeg: bytes) -> int:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return round(float(picture[..., 2].mean()) / 10) * 10
