"""What one trial does, start to end."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from aufleet.errors import NonFiniteLossError
from aufleet.training.checkpoints import MODEL, OPTIMIZER, VALIDATION, Checkpoint, Checkpoints
from aufleet.training.config import TrialConfig
from aufleet.training.engine import Engine
from aufleet.training.environment import seed_everything
from aufleet.training.epoch import train_epoch
from aufleet.training.evaluation import Predictions, evaluate
from aufleet.training.fold_data import Loader
from aufleet.training.metrics import Score
from aufleet.training.ranks import Ranks
from aufleet.training.results import EpochReport, Report, TrialResult, best_report
from aufleet.training.schedule import learning_rate_at
from aufleet.training.watchdog import Watchdog

Files = Mapping[str, Mapping[str, Tensor]]
Reports = tuple[EpochReport, ...]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a trial works with."""

    config: TrialConfig
    ranks: Ranks
    units: tuple[int, ...] | None
    train: Loader
    validation: Loader
    checkpoints: Checkpoints
    report: Report
    watchdog: Watchdog


def run_epochs(trial: Trial, *, engine: Engine, resumed: Checkpoint | None) -> TrialResult:
    """Train, validate, save and report, epoch by epoch, until the last or until told to stop."""
    reports = resumed.reports if resumed else ()
    constant = resumed.constant if resumed else {}
    for epoch in range(len(reports) + 1, trial.config.epochs + 1):
        predictions, score, report = _run_epoch(trial, engine=engine, epoch=epoch)
        reports, constant = (*reports, report), score.constant
        files = {
            MODEL: engine.weights(),
            OPTIMIZER: engine.optimizer_state(),
            VALIDATION: predictions.tensors,
        }
        if not _published(trial, partial(_publish, trial, files, reports, constant)):
            break
    return conclude(reports, constant, checkpoints=trial.checkpoints, ranks=trial.ranks)


def conclude(
    reports: Reports, constant: Mapping[str, float], *, checkpoints: Checkpoints, ranks: Ranks
) -> TrialResult:
    """Return the result of a trial with these epochs."""
    checkpoint = ranks.from_first(lambda: checkpoints.key_of(best_report(reports).epoch))
    return TrialResult.of(
        reports, constant=constant, checkpoint=checkpoint, initialized=checkpoints.initialized
    )


def _run_epoch(
    trial: Trial, *, engine: Engine, epoch: int
) -> tuple[Predictions, Score, EpochReport]:
    config, started = trial.config, time.perf_counter()
    steps = trial.train.steps_per_epoch
    rates = [
        learning_rate_at(config, epoch=epoch, step=step, steps_per_epoch=steps)
        for step in range(steps)
    ]
    engine.network.start_epoch(epoch)
    # Seeded anew, so that a resumed epoch needs no saved state of any generator.
    seed_everything(config.seed, epoch, trial.ranks.rank)
    train_loss = train_epoch(engine, trial.train, epoch=epoch, rates=rates, ranks=trial.ranks)
    trained = time.perf_counter()
    engine.average_statistics()
    predictions = evaluate(engine.predict, trial.validation, ranks=trial.ranks)
    score = predictions.score(trial.units)
    if not math.isfinite(score.loss):
        raise NonFiniteLossError(f"the validation loss of epoch {epoch} is {score.loss}")
    report = EpochReport(
        epoch=epoch,
        score=score.macro_f1,
        loss=score.loss,
        train_loss=train_loss,
        per_label=score.per_label,
        landmark_error=predictions.mean_landmark_error,
        accuracy=score.accuracy,
        kappa=score.kappa,
        accuracy_per_label=score.accuracy_per_label,
        auc=score.auc,
        confusion=score.confusion,
        seconds=time.perf_counter() - started,
        frames_per_s=trial.train.num_frames / (trained - started),
        learning_rate=rates[-1],
    )
    return predictions, score, report


def _published(trial: Trial, publish: Callable[[], bool]) -> bool:
    """Let rank 0 publish, which may take its time, and so may those who wait for its answer.

    The store has deadlines of its own, and whoever hears the report asks when it likes. But rank 0
    itself waits for no one longer than the watchdog allows: a rank that hangs takes no answer.
    """
    if trial.ranks.is_first:
        return trial.ranks.from_first(partial(trial.watchdog.paused, publish))
    return trial.watchdog.paused(partial(trial.ranks.from_first, publish))


def _publish(trial: Trial, files: Files, reports: Reports, constant: Mapping[str, float]) -> bool:
    """Save first, then tell: a report stands for what can no longer be lost."""
    trial.checkpoints.write(files=files, constant=constant, reports=reports)
    return trial.report(reports[-1])
