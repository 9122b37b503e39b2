"""What a trial tells the outside: one report per epoch, one result, one score of the test part."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """One epoch of a trial; plain numbers only.

    Attributes:
        epoch: Counted from 1.
        score: Macro F1 on the validation subjects: over units at 0.5, or over the four grades.
        loss: Mean negative log-likelihood of the validation labels, in nats per label.
        train_loss: Mean of the network's own loss over the epoch's steps.
        per_label: F1 per label: "AU12", or "medium".
        landmark_error: Mean distance over inter-ocular distance in percent; None where the
            network predicts no landmarks.
        accuracy: Share of right answers, the mean over units for action units.
        kappa: Quadratic weighted kappa of the grades; None for action units.
        accuracy_per_label: Share of right answers per unit or, grade against the others, per grade.
        auc: Area under the ROC curve per label; labels of which all frames are equal have none.
        confusion: Frames of each true grade (row) that were given each grade (column); None for
            action units.
        seconds: Wall time of the epoch with validation and without the checkpoint.
        frames_per_s: Training frames of all ranks per second of training.
        learning_rate: Of its last step.
    """

    epoch: int
    score: float
    loss: float
    train_loss: float
    per_label: Mapping[str, float]
    landmark_error: float | None = None
    accuracy: float | None = None
    kappa: float | None = None
    accuracy_per_label: Mapping[str, float] = field(default_factory=dict)
    auc: Mapping[str, float] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] | None = None
    seconds: float
    frames_per_s: float
    learning_rate: float


Report = Callable[[EpochReport], bool]
"""Called on rank 0 after each epoch's checkpoint lies in the store; False ends the trial."""


def best_report(reports: Iterable[EpochReport]) -> EpochReport:
    """Return the report with the highest score; ties go to the lower loss, then the earlier."""
    return best_reports(reports)[0]


def best_reports(reports: Iterable[EpochReport], *, number: int = 1) -> list[EpochReport]:
    """Return the reports with the highest scores, the best first; ties as in `best_report`."""
    ordered = sorted(reports, key=lambda report: (-report.score, report.loss, report.epoch))
    return ordered[:number]


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """A finished trial.

    Attributes:
        best_epoch: The epoch with the highest validation score, ties by loss, then the earlier.
        score: Its macro F1.
        loss: Its validation loss.
        per_label: Its F1 per label.
        constant: F1 per label of the best constant answer on the same frames; the mean of the
            values is its macro F1.
        checkpoint: Key of its checkpoint's folder, relative to the trial's store; it holds
            `model.safetensors` and `validation.safetensors`.
        epochs: Every epoch's report, also those before a resume.
        seconds: Wall time of all epochs.
        initialized: Where the first weights came from, and which were copied; None where they were
            drawn.
    """

    best_epoch: int
    score: float
    loss: float
    per_label: Mapping[str, float]
    constant: Mapping[str, float]
    checkpoint: str
    epochs: tuple[EpochReport, ...]
    seconds: float
    initialized: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        reports: tuple[EpochReport, ...],
        *,
        constant: Mapping[str, float],
        checkpoint: str,
        initialized: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the result of a trial with these epochs."""
        best = best_report(reports)
        return cls(
            best_epoch=best.epoch,
            score=best.score,
            loss=best.loss,
            per_label=best.per_label,
            constant=constant,
            checkpoint=checkpoint,
            epochs=reports,
            seconds=sum(report.seconds for report in reports),
            initialized=initialized,
        )


@dataclass(frozen=True, kw_only=True)
class TestScore:
    """How a checkpoint does on the test part of its fold; fields as in `EpochReport`.

    Attributes:
        constant: F1 per label of the best constant answer on the test frames.
        counts: Label -> right answers, false alarms and misses.
        num_frames: Test frames.
        checkpoint: Key of the scored checkpoint's folder.
        predictions: Key of the file with the predictions, relative to the trial's store.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    score: float
    loss: float
    per_label: Mapping[str, float]
    constant: Mapping[str, float]
    landmark_error: float | None = None
    accuracy: float | None = None
    kappa: float | None = None
    accuracy_per_label: Mapping[str, float] = field(default_factory=dict)
    auc: Mapping[str, float] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] | None = None
    counts: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    num_frames: int
    checkpoint: str
    predictions: str
