from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from aufleet.data.dataset import Dataset, open_dataset
from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.records import FrameRecord
from aufleet.domain.landmarks import POINTS_49_OF_68
from aufleet.storage import Store

MakeRecord = Callable[..., FrameRecord]


@pytest.fixture(scope="session")
def template() -> np.ndarray:
    """The symmetric 49-point shape of specs/models.md 12.1, pixels of the aligned frame."""
    points = """
    41,46 51,41 63,41 73,44 84,48 115,48 126,44 136,41 148,41 158,46 99.5,60 99.5,75 99.5,90
    99.5,105 84,111 92,113 99.5,114 107,113 115,111 52,65 61,63 71,63 79,67 70,70 61,70 120,67
    128,63 138,63 147,65 138,70 129,70 70,132 79,128 89,125 99.5,127 110,125 120,128 129,132
    122,142 112,149 99.5,150 87,149 77,142 86,133 99.5,134 113,133 114,137 99.5,138 85,137
    """
    return np.array([point.split(",") for point in points.split()], dtype=np.float32)


@pytest.fixture(scope="session")
def make_record(template: np.ndarray) -> MakeRecord:
    """Build a record whose picture tells which frame it is: its red channel is its number."""

    def make(subject: str, frame: int, **changes: object) -> FrameRecord:
        picture = np.full((200, 200, 3), 60, dtype=np.uint8)
        picture[..., 2] = frame
        content = {
            "subject": subject,
            "sequence": "T1",
            "frame": frame,
            "jpeg": cv2.imencode(".jpg", picture)[1].tobytes(),
            "landmarks": template + np.float32(frame % 3),
            "landmark_source": "exact",
            "units": (frame % 2, 1, 9),
        }
        return FrameRecord(**{**content, **changes})

    return make


@pytest.fixture
def store(local_store: Store) -> Store:
    """A local folder; tests/integration repeats what matters on S3."""
    return local_store


@pytest.fixture
def spec() -> DatasetSpec:
    return DatasetSpec(name="faces", version="1", units=(1, 2, 12), source="a test", seed=0)


@pytest.fixture
def subjects(make_record: MakeRecord) -> list[tuple[str, list[FrameRecord]]]:
    """Nine subjects with 4 to 6 frames each; frame numbers run through, so each picture differs."""
    return [
        (f"S{number}", [make_record(f"S{number}", number * 10 + row) for row in range(4 + row_mod)])
        for number, row_mod in ((number, number % 3) for number in range(1, 10))
    ]


@pytest.fixture
def dataset(subjects: list, spec: DatasetSpec, store: Store) -> Dataset:
    publish_dataset(subjects, spec=spec, store=store)
    return open_dataset(store.uri_of("datasets/faces/1"))


@pytest.fixture
def dataset_68(subjects: list, spec: DatasetSpec, store: Store) -> Dataset:
    """The same with 68 points: the 49, and jaw and inner mouth corners far outside."""
    publish_dataset(
        ((subject, list(map(_with_68_points, records))) for subject, records in subjects),
        spec=replace(spec, version="68"),
        store=store,
    )
    return open_dataset(store.uri_of("datasets/faces/68"))


def _with_68_points(record: FrameRecord) -> FrameRecord:
    points = np.full((68, 2), 1000, dtype=np.float32)
    points[POINTS_49_OF_68] = record.landmarks
    return replace(record, landmarks_68=points)
