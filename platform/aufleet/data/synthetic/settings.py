"""What a synthetic data set is made of."""

from dataclasses import dataclass

from aufleet.data.synthetic.units import UNITS
from aufleet.domain.action_units import BP4D_UNITS, NAMES
from aufleet.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings:
    """A synthetic data set; the same settings give the same bytes.

    Attributes:
        num_subjects: How many people.
        frames_per_subject: Frames of each.
        seed: Decides everything that is drawn.
        units: The labelled action units, in the order of the labels.
        palsy: Subjects have a palsy and do exercises; otherwise they are healthy and show units in
            groups.
        examinations: With palsy, how often each subject is seen, with another grade each time;
            grades are spread evenly over subjects and examinations. With 4 every subject is seen
            with every grade, so that who it is says nothing about the grade.
        frames_per_sequence: Frames that share light, background and camera; with palsy an
            exercise of an examination is a sequence.
    """

    num_subjects: int
    frames_per_subject: int
    seed: int = 0
    units: tuple[int, ...] = BP4D_UNITS
    palsy: bool = False
    examinations: int = 4
    frames_per_sequence: int = 6

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered.

        Raises:
            ConfigError: A number is too small, or a unit is unknown or stands twice.
        """
        for name in ("num_subjects", "frames_per_subject", "examinations", "frames_per_sequence"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", "at least 1 is needed")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}", "it cannot be negative")
        known = [unit for unit in UNITS if unit in NAMES]
        for unit in self.units:
            if unit not in known:
                raise ConfigError(f"action unit {unit} cannot be rendered", f"choose from {known}")
        if len(set(self.units)) != len(self.units) or not self.units:
            raise ConfigError(f"units are {self.units}", "name each unit once, and at least one")

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects' names, in their order."""
        return tuple(f"S{index + 1:04d}" for index in range(self.num_subjects))
