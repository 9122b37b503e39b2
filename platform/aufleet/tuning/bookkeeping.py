"""What a search writes into its ledger, and tells those who listen."""

from collections.abc import Callable
from datetime import datetime

from aufleet.training.results import EpochReport, TrialResult
from aufleet.tuning.events import SearchListener
from aufleet.tuning.grid import Configuration
from aufleet.tuning.judge import Verdict
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.meter import Meter
from aufleet.tuning.records import (
    ConfigurationRecord,
    CurvePoint,
    RungRecord,
    StopRecord,
    TrialRecord,
)
from aufleet.tuning.runs import Run


class Bookkeeping:
    """Writes the records of a search."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        listener: SearchListener,
        meter: Meter,
        now: Callable[[], datetime],
    ) -> None:
        """Write to a ledger.

        Args:
            ledger: Where records go.
            listener: Hears of ends.
            meter: Knows how long a trial held its resources.
            now: The clock.
        """
        self._ledger, self._listener, self._meter, self._now = ledger, listener, meter, now

    def open(self, configuration: Configuration) -> None:
        """Write down a configuration whose trials will be handed out."""
        self._ledger.add_configuration(
            ConfigurationRecord(
                model=configuration.model,
                index=configuration.index,
                point=configuration.point,
                config_id=configuration.config_id,
                row=configuration.row,
            )
        )

    def compare(self, run: Run, report: EpochReport) -> None:
        """Write down a score at a rung."""
        self._ledger.add_rung(
            RungRecord(
                model=run.trial.model,
                config_id=run.trial.config_id,
                fold=run.trial.fold,
                epoch=report.epoch,
                score=report.score,
            )
        )

    def give_up(self, configuration: Configuration, verdict: Verdict) -> None:
        """Write down why a configuration was given up."""
        record = StopRecord(
            model=configuration.model,
            config_id=configuration.config_id,
            rule=verdict.rule,
            epoch=verdict.epoch,
            folds=verdict.folds,
            mean=verdict.mean,
            better=verdict.better,
            compared=verdict.compared,
            reason=str(verdict),
            at=self._now(),
        )
        self._ledger.add_stop(record)
        self._listener.configuration_stopped(record)

    def finish(self, run: Run, result: TrialResult) -> TrialRecord:
        """Write down a result."""
        best = next((one for one in result.epochs if one.epoch == result.best_epoch), None)
        return self._write(
            run,
            status="finished",
            score=result.score,
            loss=result.loss,
            best_epoch=result.best_epoch,
            per_label=dict(result.per_label),
            constant=dict(result.constant),
            accuracy_per_label=dict(best.accuracy_per_label) if best else {},
            auc=dict(best.auc) if best else {},
            landmark_error=best.landmark_error if best else None,
            kappa=best.kappa if best else None,
            checkpoint=result.checkpoint,
            seconds=result.seconds,
            curve=tuple(CurvePoint.of(one) for one in result.epochs) or tuple(run.curve),
            initialized=dict(result.initialized) if result.initialized else None,
        )

    def end(self, run: Run, *, status: str, reason: str) -> TrialRecord:
        """Write down an attempt that ended without a result."""
        return self._write(run, status=status, reason=reason, curve=tuple(run.curve))

    def _write(self, run: Run, *, status: str, **facts: object) -> TrialRecord:
        configuration = run.progress.configuration
        record = TrialRecord.model_validate(
            {
                "model": run.trial.model,
                "config_id": run.trial.config_id,
                "fold": run.trial.fold,
                "attempt": run.attempt,
                "status": status,
                "point": configuration.point,
                "row": configuration.row,
                "settings": run.trial.settings,
                "held_s": self._meter.end(run.name),
                "cpus": run.cpus,
                "gpus": run.gpus,
                "ended": self._now(),
                **facts,
            }
        )
        self._ledger.add_trial(record)
        self._listener.trial_ended(run.trial, record)
        return record
