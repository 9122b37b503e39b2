"""An open configuration, a trial that was handed out, and what limits them."""

from dataclasses import dataclass, field

from aufleet.training.config import TrialConfig
from aufleet.tuning.experiment import Experiment
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
    number: int = 0
    """Configurations of its bracket that were opened before it."""
    scores: dict[int, float] = field(default_factory=dict)
    """Of the folds that have ended."""
    reached: dict[int, int] = field(default_factory=dict)
    """Fold -> the last epoch that is known."""
    failed: bool = False
    stopped: Verdict | None = None
    reviewed_at: int = -1
    """How many scores were known when it was last judged."""

    @property
    def first(self) -> TrialConfig:
        """The trial of its first fold."""
        return self.configuration.trials[0]

    def put_back(self, trial: TrialConfig) -> None:
        """Let a trial wait again, in the order of the folds."""
        self.waiting = [one for one in self.configuration.trials if one in [*self.waiting, trial]]

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
    until: int
    """The epoch at which it pauses; its last where it is trained whole."""
    curve: list[CurvePoint] = field(default_factory=list)
    """Every epoch that is known, of earlier attempts too."""
    has_trained: bool = False
    """Whether this attempt has told of an epoch."""
    pauses: bool = False
    """Whether it shall stop for the time being."""
    cpus: float = 0.0
    gpus: float = 0.0

    @property
    def name(self) -> str:
        """The trial's name."""
        return id_of(self.trial)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt ended in an error.

    Attributes:
        reason: One sentence.
        is_final: Another attempt would end the same way.
        is_lost: Its node is gone, which is no fault of the trial.
    """

    reason: str
    is_final: bool = False
    is_lost: bool = False


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What ends configurations and the search."""

    judge: Judge = field(default_factory=lambda: Judge(rules=Rules(kind="none", num_folds=1)))
    meter: Meter = field(default_factory=lambda: Meter(Budget()))
    across_models: bool = False
    """Whether all models are compared with each other."""
    retry_failed: bool = False
    """Try again what failed for good in an earlier run."""
    control: bool = False
    """At the end, train each model's winner on shuffled labels, on its first fold."""
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


def limits_of(experiment: Experiment, *, meter: Meter, retry_failed: bool = False) -> Limits:
    """Return what ends configurations and the search, as an experiment has it."""
    settings, resources = experiment.early_stopping, experiment.resources
    given = {
        "grace": settings.grace_epochs or 2,
        "reduction": settings.reduction,
        "caution": settings.caution,
    }
    rules = Rules(
        kind="none" if settings.kind == "pbt" else settings.kind,
        num_folds=len(experiment.folds),
        min_compared=3 if settings.kind == "median" else 1,
        **{key: value for key, value in given.items() if value is not None},
    )
    return Limits(
        judge=Judge(rules=rules),
        meter=meter,
        across_models=bool(settings.across_models),
        retry_failed=retry_failed,
        control=experiment.control and not experiment.shuffle_labels,
        cpus_per_rank=resources.cpus_per_rank,
        gpus_per_rank=resources.gpus_per_rank,
    )
