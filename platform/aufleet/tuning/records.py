"""What the ledger holds: one record for each thing that was decided or done."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from aufleet.training.results import EpochReport

CONTROL = "(shuffled labels)"
"""Stands in the place of a row's name where a winner's settings were trained on shuffled labels."""


def trial_id(model: str, *, config_id: str, fold: int) -> str:
    """Return the name of a trial: its folder below trials/, and its key in the ledger."""
    return f"{model}/{config_id}/fold{fold}"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConfigurationRecord(_Record):
    """A point that a sampler proposed for a model."""

    model: str
    index: int
    point: dict[str, Any]
    config_id: str
    row: str = ""
    """The row of the table that it is; empty in a search."""

    @property
    def key(self) -> str:
        """Where it stands in the ledger."""
        return f"configurations/{self.model}/{self.index:06d}"


class CurvePoint(_Record):
    """One epoch of a trial."""

    epoch: int
    score: float
    loss: float
    train_loss: float

    @classmethod
    def of(cls, report: EpochReport) -> "CurvePoint":
        """Return what is kept of a report."""
        return cls(
            epoch=report.epoch, score=report.score, loss=report.loss, train_loss=report.train_loss
        )


class TrialRecord(_Record):
    """One attempt at one trial, after its end."""

    model: str
    config_id: str
    fold: int
    attempt: int
    status: Literal["finished", "crashed", "lost", "failed", "stopped", "paused"]
    """Done; to be tried again; the same, for its node was lost; never to be tried again; its
    configuration was given up; to be continued when others have come as far, or with a larger
    budget."""
    reason: str = ""
    """Why it did not finish, in one sentence."""
    point: dict[str, Any]
    """The searched settings."""
    settings: dict[str, Any]
    """All settings of the trial."""
    row: str = ""
    """The row of the table that it belongs to; empty in a search."""
    initialized: dict[str, Any] | None = None
    """Where the first weights came from, and which were copied."""
    score: float | None = None
    """Macro F1 on the validation subjects at the best epoch."""
    loss: float | None = None
    best_epoch: int | None = None
    per_label: dict[str, float] = {}
    constant: dict[str, float] = {}
    """F1 of the best constant answer, per label."""
    accuracy_per_label: dict[str, float] = {}
    auc: dict[str, float] = {}
    landmark_error: float | None = None
    kappa: float | None = None
    """Quadratic-weighted kappa of the grades; None for action units."""
    curve: tuple[CurvePoint, ...] = ()
    """Every epoch that is known."""
    checkpoint: str = ""
    """Key of the best checkpoint's folder in the trial's store."""
    seconds: float = 0.0
    """Wall time of all epochs, of all attempts."""
    held_s: float = 0.0
    """How long this attempt held its resources."""
    cpus: float = 0.0
    gpus: float = 0.0
    """What it held, of all its ranks."""
    ended: datetime

    @property
    def trial_id(self) -> str:
        """The trial's name: its folder below trials/."""
        return trial_id(self.model, config_id=self.config_id, fold=self.fold)

    @property
    def key(self) -> str:
        """Where it stands in the ledger."""
        return f"trials/{self.trial_id}/{self.attempt:03d}"


class RungRecord(_Record):
    """A score that configurations were compared by."""

    model: str
    config_id: str
    fold: int
    epoch: int
    score: float

    @property
    def key(self) -> str:
        """Where it stands in the ledger."""
        name = trial_id(self.model, config_id=self.config_id, fold=self.fold)
        return f"rungs/{name}/{self.epoch:04d}"


class StopRecord(_Record):
    """Why a configuration was given up."""

    model: str
    config_id: str
    rule: Literal["asha", "median", "forgiving"]
    epoch: int
    """The rung; 0 where folds had ended."""
    folds: tuple[int, ...]
    mean: float
    better: int
    compared: int
    reason: str
    at: datetime

    @property
    def key(self) -> str:
        """Where it stands in the ledger."""
        return f"stops/{self.model}/{self.config_id}"


class TestRecord(_Record):
    """How a fold's best checkpoint does on the test part, which is scored once."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    model: str
    config_id: str
    fold: int
    score: float
    per_label: dict[str, float]
    constant: dict[str, float]
    accuracy_per_label: dict[str, float] = {}
    auc: dict[str, float] = {}
    landmark_error: float | None = None
    kappa: float | None = None
    counts: dict[str, tuple[int, int, int]] = {}
    """Per label: right answers, false alarms, misses."""
    num_frames: int

    @property
    def key(self) -> str:
        """Where it stands in the ledger."""
        return f"tests/{trial_id(self.model, config_id=self.config_id, fold=self.fold)}"
