"""What importers of a release with fixed folds share: their options, their parts, their words."""

from collections.abc import Sequence
from typing import ClassVar

from aufleet.data.importers.contract import Parts
from aufleet.data.importers.framing import CROPS, POINTS, Crop, PointsFrom, check_choice
from aufleet.data.importers.source import Source


class ReleaseImporter:
    """An importer of a release whose three parts all papers share.

    A subclass plans and reads; its plan sets `_present` and `_digest`.
    """

    name: ClassVar[str]
    published_parts: ClassVar[Sequence[Sequence[str]]]
    """Of all subjects, also of those that a source lacks."""

    def __init__(self, source: Source, *, crop: Crop, landmarks: PointsFrom) -> None:
        check_choice("crop", crop, choices=CROPS)
        check_choice("landmarks", landmarks, choices=POINTS)
        self._source = source
        self._crop: Crop = crop
        self._landmarks: PointsFrom = landmarks
        self._present = tuple(subject for part in self.published_parts for subject in part)
        self._digest = "unread"

    @property
    def parts(self) -> Parts:
        """The three parts of all papers, of the subjects that the source has."""
        return tuple(
            tuple(subject for subject in part if subject in self._present)
            for part in self.published_parts
        )

    def describe(self) -> str:
        """Return what is read and how."""
        return (
            f"{self.name} from {self._source.uri}, labels {self._digest}, "
            f"landmarks={self._landmarks}, crop={self._crop}"
        )
