"""A data set whose faces are plain colours that tell units and grade: learnt in seconds."""

from collections.abc import Sequence

import cv2
import numpy as np

from aufleet.data.publish import DatasetSpec, publish_dataset
from aufleet.data.records import FrameRecord
from aufleet.domain.palsy import grade_of
from aufleet.storage import Store

UNITS = (1, 12)


def painted_subjects(
    *, prefix: str = "S", subjects: int = 7, frames: int = 9, units: Sequence[int] = UNITS
) -> list[tuple[str, list[FrameRecord]]]:
    """Return subjects; the first two units are told by red and green, further ones by nothing."""
    rng = np.random.default_rng(0)
    return [
        (
            f"{prefix}{number}",
            [_frame(rng, f"{prefix}{number}", frame, units=units) for frame in range(frames)],
        )
        for number in range(subjects)
    ]


def _frame(
    rng: np.random.Generator, subject: str, frame: int, *, units: Sequence[int]
) -> FrameRecord:
    told = (frame % 2, int(rng.integers(2)))
    score = int(rng.choice([1, 2, 3, 5]))
    picture = rng.integers(0, 40, (200, 200, 3), dtype=np.uint8)
    picture += np.array([150 * told[0], 150 * told[1], 40 * score], dtype=np.uint8)
    labels = {**dict.fromkeys(units, 0), **dict(zip(UNITS, told, strict=True))}
    return FrameRecord(
        subject=subject,
        sequence="T1",
        frame=frame,
        jpeg=cv2.imencode(".jpg", picture)[1].tobytes(),
        landmarks=rng.uniform(20, 180, (49, 2)).astype(np.float32),
        landmark_source="exact",
        units=tuple(labels[unit] for unit in units),
        house_brackmann=score,
        grade=grade_of(score),
    )


def publish_painted(
    root: Store, *, name: str = "painted", units: Sequence[int] = UNITS, **settings: object
) -> str:
    """Publish such a data set below a root and return its URI; settings of `painted_subjects`."""
    spec = DatasetSpec(name=name, version="1", units=tuple(units), source="a test", seed=0)
    publish_dataset(painted_subjects(units=units, **settings), spec=spec, store=root)  # type: ignore[arg-type]
    return root.uri_of(f"datasets/{name}/1")
