"""An open configuration, a trial that was handed out, and what limits them."""

from dataclasses import dataclass, field

from aufleet.training.config import TrialConfig
from aufleet.tuning.grid import Configuration, id_of
from aufleet.tuning.judge import Judge, Member, Rules, Verdict
from aufleet.tuning.limits import Budget
from aufleet.tuning.meter import Meter
from aufleet.tuning.records import CurvePoint, StopRecord


@dataclass(kw_only=True, eq=False)
class Progress:
    """One configuration and what is known of its folds."""

    configuration: Configuration
    member: Member
    waiting: list[TrialConfig]
    scores: dict[int, float] = field(default_factory=dict)
    failed: bool = False
    stopped: Verdict | None = None

    @property
    def is_over(self) -> bool:
        """Whether no further fold is handed out."""
        return self.failed or self.stopped is not None


@dataclass(kw_only=True, eq=False)
class Run:
    """A trial that was handed out."""

    trial: TrialConfig
    attempt: int
    progress: Progress
    curve: list[CurvePoint] = field(default_factory=list)
    cpus: float = 0.0
    gpus: float = 0.0

    @property
    def name(self) -> str:
        """The trial's name."""
        return id_of(self.trial)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What ends configurations and the search."""

    judge: Judge = field(default_factory=lambda: Judge(rules=Rules(kind="none", num_folds=1)))
    meter: Meter = field(default_factory=lambda: Meter(Budget()))
    across_models: bool = False
    """Whether all models are compared with each other."""
    retry_failed: bool = False
    """Try again what failed for good in an earlier run."""
    cpus_per_rank: float = 0.0
    gpus_per_rank: float = 0.0
    """What a rank holds."""


@dataclass(frozen=True, kw_only=True)
class _Recalled(Verdict):
    """A verdict of an earlier run."""

    sentence: str = ""

    def __str__(self) -> str:
        return self.sentence


def verdict_of(stop: StopRecord) -> Verdict:
    """Return a verdict that was written down, with its sentence."""
    return _Recalled(
        rule=stop.rule,
        epoch=stop.epoch,
        folds=stop.folds,
        mean=stop.mean,
        better=stop.better,
        compared=stop.compared,
        sentence=stop.reason,
    )
