"""Counts over all frames of a data set, and a few frames to show."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aufleet.data.dataset import Dataset
from aufleet.data.inspection.samples import Sample, choose_samples, shown_subjects
from aufleet.data.partition import SubjectFrames
from aufleet.domain.action_units import NOT_CODED
from aufleet.domain.palsy import NOT_GRADED, Grade

NUM_INTENSITIES = 6


@dataclass(kw_only=True, eq=False)
class DatasetFacts:
    """What all frames together say; U units.

    Attributes:
        num_frames: Of all subjects.
        active: (U,) frames in which a unit is active.
        coded: (U,) frames in which it was coded.
        together: (U, U) frames in which both units are active.
        coded_together: (U, U) frames in which the row's unit is active and the column's is coded.
        intensities: (U, 6) frames of each intensity, where intensities are known.
        active_by_subject: Subject -> (U,) active and (U,) coded frames.
        grades: Grade -> frames, of the graded ones.
        sides: Affected side -> frames.
        exercises: Exercise -> frames.
        landmark_sources: Where the points come from -> frames.
        with_68_points: Frames that have 68 points.
        sequences: How many videos or tasks there are.
        samples: A few frames to show.
    """

    num_frames: int = 0
    active: NDArray[np.int64]
    coded: NDArray[np.int64]
    together: NDArray[np.int64]
    coded_together: NDArray[np.int64]
    intensities: NDArray[np.int64]
    active_by_subject: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(
        default_factory=dict
    )
    grades: Counter[str] = field(default_factory=Counter)
    sides: Counter[str] = field(default_factory=Counter)
    exercises: Counter[str] = field(default_factory=Counter)
    landmark_sources: Counter[str] = field(default_factory=Counter)
    with_68_points: int = 0
    sequences: int = 0
    samples: list[Sample] = field(default_factory=list)

    def add(self, frames: SubjectFrames) -> None:
        """Count one subject's frames."""
        active = (frames.units == 1).astype(np.int64)
        coded = (frames.units != NOT_CODED).astype(np.int64)
        self.num_frames += len(frames)
        self.active += active.sum(axis=0)
        self.coded += coded.sum(axis=0)
        self.together += active.T @ active
        self.coded_together += active.T @ coded
        for level in range(NUM_INTENSITIES):
            self.intensities[:, level] += (frames.intensities == level).sum(axis=0)
        self.active_by_subject[frames.subject] = (active.sum(axis=0), coded.sum(axis=0))
        graded = frames.grade[frames.grade != NOT_GRADED]
        self.grades.update(Grade(grade).label for grade in graded.tolist())
        self.sides.update(side for side in frames.side.tolist() if side)
        self.exercises.update(name for name in frames.exercise.tolist() if name)
        self.landmark_sources.update(frames.landmark_source.tolist())
        self.with_68_points += int((~np.isnan(frames.landmarks_68).any(axis=(1, 2))).sum())
        self.sequences += len(set(frames.sequence.tolist()))


def read_facts(dataset: Dataset, *, progress: Callable[[int], None] | None = None) -> DatasetFacts:
    """Read every partition, one at a time, and count.

    Args:
        dataset: What to look into.
        progress: Called with the number of frames of each subject that was read.

    Raises:
        ObjectCorruptError: A partition is damaged.
        ObjectMissingError: A partition is gone.
    """
    size = len(dataset.manifest.units)
    facts = DatasetFacts(
        active=np.zeros(size, np.int64),
        coded=np.zeros(size, np.int64),
        together=np.zeros((size, size), np.int64),
        coded_together=np.zeros((size, size), np.int64),
        intensities=np.zeros((size, NUM_INTENSITIES), np.int64),
    )
    withdrawn = dataset.withdrawn_keys()
    there = [one.subject for one in dataset.manifest.partitions if one.key not in withdrawn]
    shown, seen = shown_subjects(there), set()
    for subject in there:
        frames = dataset.read_subject(subject)
        facts.add(frames)
        facts.samples += choose_samples(
            frames, units=dataset.manifest.unit_labels, count=shown.get(subject, 0), seen=seen
        )
        if progress:
            progress(len(frames))
    return facts
