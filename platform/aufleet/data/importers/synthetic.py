"""Synthetic faces as an import: in the shape of a published data set, or plain faces, in any size.

    aufleet data import synthetic bp4d --frames 200 --to s3://bucket/root

The source is a preset. `bp4d`, `disfa` and `fpara` are videos with the subjects, units, frequencies
and folds of those data sets (`data.synthetic.presets`); `faces` and `palsy` are the single frames
that `aufleet data synth` renders, byte for byte.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from aufleet.data.crop_240 import cut_crop_240
from aufleet.data.decoding import decode_frame
from aufleet.data.importers.contract import Parts, SubjectPlan, Unusable
from aufleet.data.importers.framing import CROPS, Crop, check_choice, encode_jpeg
from aufleet.data.records import FrameRecord
from aufleet.data.synthetic import (
    PRESETS,
    FilmSettings,
    SyntheticSettings,
    film_subject,
    render_frames,
)
from aufleet.errors import ConfigError

_FACES, _PALSY = "faces", "palsy"
SOURCES = (*PRESETS, _FACES, _PALSY)
"""What can be rendered."""
_OUTLINE = slice(0, 27)
"""Of the 68 points: jaw and brows."""
_NUM_FACES, _NUM_FRAMES, _NUM_EXAMINATIONS = 12, 40, 4


@dataclass(frozen=True)
class SyntheticImporter:
    """Renders subjects instead of reading them.

    Attributes:
        source: One of SOURCES.
        subjects: How many; None: as the preset's data set has, 12 faces otherwise.
        frames: Of each subject; None: as the preset's data set has, 40 otherwise.
        seed: Decides every face and label.
        examinations: Of each subject of `fpara` and `palsy`; None: 3 and 4.
        crop: "lpnet" adds LP-Net's masked crop, cut out of the aligned frame.
    """

    source: str
    subjects: int | None = None
    frames: int | None = None
    seed: int = 0
    examinations: int | None = None
    crop: Crop = "none"

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered.

        Raises:
            ConfigError: There is no such preset, or a number is too small.
        """
        if self.source not in SOURCES:
            raise ConfigError(
                f"there is no synthetic data set {self.source!r}",
                f"choose from {', '.join(SOURCES)}",
            )
        check_choice("crop", self.crop, choices=CROPS)
        _ = self._settings

    @property
    def name(self) -> str:
        """Its name in the table."""
        return "synthetic"

    @property
    def units(self) -> tuple[int, ...]:
        """The labelled action units."""
        settings = self._settings
        return settings.shape.units if isinstance(settings, FilmSettings) else settings.units

    @property
    def parts(self) -> Parts | None:
        """The published folds' parts, for `bp4d` and `disfa`."""
        settings = self._settings
        return settings.parts if isinstance(settings, FilmSettings) else None

    def describe(self) -> str:
        """Return the preset and its size: the same words are the same bytes."""
        settings = self._settings
        size = {"subjects": len(self._names), "frames": self._length, "seed": settings.seed}
        if self.examinations is not None:
            size["examinations"] = self.examinations
        crop = "" if self.crop == "none" else f", crop {self.crop}"
        return f"synthetic {self.source} {json.dumps(size)}{crop}"

    def plan(self) -> tuple[Sequence[SubjectPlan], Sequence[Unusable]]:
        """Return one plan for each subject; nothing is unusable."""
        plans = [
            SubjectPlan(subject=subject, num_frames=self._length, items=(index,))
            for index, subject in enumerate(self._names)
        ]
        return plans, []

    def read(self, plan: SubjectPlan) -> Iterator[FrameRecord | Unusable]:
        """Yield the frames of a subject, each rendered when it is asked for."""
        _stay_on_one_core()
        (index,) = plan.items
        settings = self._settings
        render = film_subject if isinstance(settings, FilmSettings) else render_frames
        records = render(settings, index)  # pyright: ignore[reportArgumentType] - its own settings
        yield from records if self.crop == "none" else map(_with_crop, records)

    @property
    def _settings(self) -> FilmSettings | SyntheticSettings:
        if self.source in PRESETS:
            return FilmSettings(
                preset=self.source,
                num_subjects=self.subjects,
                frames_per_subject=self.frames,
                seed=self.seed,
                examinations=self.examinations,
            )
        if self.source == _FACES and self.examinations is not None:
            raise ConfigError(f"nobody is examined in {_FACES}", "leave examinations out")
        return SyntheticSettings(
            num_subjects=_NUM_FACES if self.subjects is None else self.subjects,
            frames_per_subject=_NUM_FRAMES if self.frames is None else self.frames,
            seed=self.seed,
            palsy=self.source == _PALSY,
            examinations=_NUM_EXAMINATIONS if self.examinations is None else self.examinations,
        )

    @property
    def _names(self) -> tuple[str, ...]:
        settings = self._settings
        return settings.subjects

    @property
    def _length(self) -> int:
        settings = self._settings
        if isinstance(settings, FilmSettings):
            return settings.length
        return settings.frames_per_subject


def _with_crop(record: FrameRecord) -> FrameRecord:
    assert record.landmarks_68 is not None
    crop = cut_crop_240(
        decode_frame(record.jpeg), landmarks=record.landmarks, outline=record.landmarks_68[_OUTLINE]
    )
    return replace(record, crop_240=encode_jpeg(crop))


def _stay_on_one_core() -> None:
    """Let this process draw on one core: subjects are drawn side by side."""
    import cv2

    cv2.setNumThreads(1)
