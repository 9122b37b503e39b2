"""What every importer is: units, folds, a plan by subject, and a reader of one subject."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aufleet.data.records import FrameRecord
from aufleet.errors import DataError

Parts = tuple[tuple[str, ...], ...]
"""The three parts of the subjects where a protocol fixes them."""


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """One or more frames that cannot be used.

    Attributes:
        subject: Whose frames; "" where the source does not tell.
        sequence: The video or task; "" where all of the subject's frames are meant.
        frame: Its number; None for a run of frames or a whole sequence.
        reason: Short, stable words that `manifest.json` counts by, "no face found".
        count: How many frames of the source are meant; 1 where it does not tell, as of a video
            that is missing.
    """

    subject: str
    sequence: str
    frame: int | None
    reason: str
    count: int = 1

    def __post_init__(self) -> None:
        """Refuse an entry that would count nothing.

        Raises:
            DataError: There is no reason, or fewer than one frame.
        """
        if not self.reason or self.count < 1:
            raise DataError(f"{self} counts no frame", "give a reason and at least one frame")


@dataclass(frozen=True, kw_only=True)
class SubjectPlan:
    """Everything that a worker needs to read one subject; small, and it pickles.

    Attributes:
        subject: Who.
        num_frames: Frames that are expected, for progress; may be an estimate.
        items: What the importer wrote for itself: plain values.
    """

    subject: str
    num_frames: int
    items: tuple[Any, ...]


class Importer(Protocol):
    """Turns a source into frames; small, and it pickles, for it travels to the workers."""

    @property
    def name(self) -> str:
        """Its name in the table."""
        ...

    @property
    def units(self) -> tuple[int, ...]:
        """The unit columns that are stored, in their order; known after `plan`."""
        ...

    @property
    def parts(self) -> Parts | None:
        """The three parts of the subjects, as DatasetSpec takes them; None: split by subject.

        Known after `plan`, where they stand in the source.
        """
        ...

    def describe(self) -> str:
        """Return what is read and how, "bp4d from s3://bucket/BP4D".

        It stands in the manifest and is the identity of an import: the same words mean that
        finished subjects need not be read again. So after `plan` it names the digest of the
        labels: with other labels it is another import.
        """
        ...

    def plan(self) -> tuple[Sequence[SubjectPlan], Sequence[Unusable]]:
        """Return one plan for each subject, and what is known beforehand to be unusable.

        Cheap: labels and names are read, no picture. Runs once, in the driver.

        Raises:
            ConfigError: An option does not fit the source.
            DataError: The source is not laid out as the importer expects.
            StoreError: The source cannot be read.
        """
        ...

    def read(self, plan: SubjectPlan) -> Iterator[FrameRecord | Unusable]:
        """Yield each frame of a subject, or why it cannot be used, in order.

        Runs in a worker process. In memory are the subject's labels, two decoded frames, and up to
        16 pictures as they lie in the source.

        Raises:
            DataError: The source changed since the plan was made.
            StoreError: The source cannot be read.
        """
        ...
