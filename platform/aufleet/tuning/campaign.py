"""The configurations that are open: which fold comes next, who lives, what is written down.

Knows nothing of Tune. Folds of a configuration are handed out before the next configuration, so
that its mean is known early. One that failed or was given up gets no further folds. What the ledger
holds as ended is never handed out again.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from aufleet.training.config import TrialConfig
from aufleet.training.results import EpochReport, TrialResult
from aufleet.tuning.events import SearchListener
from aufleet.tuning.grid import Configuration, Source, id_of
from aufleet.tuning.judge import Member
from aufleet.tuning.leaderboard import rank
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.records import (
    CONTROL,
    ConfigurationRecord,
    CurvePoint,
    RungRecord,
    StopRecord,
    TrialRecord,
)
from aufleet.tuning.runs import Limits, Progress, Run, verdict_of

MAX_CRASHES = 2
"""A trial that crashed so often has failed for good."""


class Campaign:
    """The open configurations of a search."""

    def __init__(
        self,
        source: Source,
        *,
        ledger: Ledger,
        listener: SearchListener,
        limits: Limits | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Continue from the ledger.

        Args:
            source: Where configurations come from.
            ledger: What ended before, and where ends are written to.
            listener: Hears how trials end.
            limits: What ends configurations and the search; None for nothing.
            now: The clock.
        """
        self._source, self._ledger, self._listener, self._now = source, ledger, listener, now
        self._limits = limits or Limits()
        self._ended: dict[str, TrialRecord] = {}
        self._crashes: Counter[str] = Counter()
        for record in ledger.trials():
            self._ended[record.trial_id] = record
            self._crashes[record.trial_id] += record.status == "crashed"
        self._stops = {one.config_id: one for one in ledger.stops()}
        self._open: dict[str, Progress] = {}
        self._failed: set[str] = set()
        self._folds: tuple[int, ...] = ()
        self._begun = set(self._ended)
        self._known = {one.config_id for one in ledger.configurations()}
        self._is_closed = False
        self._recall_scores()

    @property
    def budget_spent(self) -> str:
        """Which limit forbids to begin another trial, or nothing."""
        return self._limits.meter.is_full(num_trials=len(self._begun))

    @property
    def is_waiting(self) -> bool:
        """Whether something may come once what runs has ended."""
        blocked = any(one.waiting and not one.is_over for one in self._open.values())
        return not self.budget_spent and (blocked or self._source.waits)

    def next_run(self) -> Run | None:
        """Return the next trial, or None where there is none now."""
        time_up = self._limits.meter.is_time_up()
        if time_up:
            return None
        trial = self._next_waiting() or self._open_next() or self._open_control()
        if trial is None:
            return None
        self._begun.add(id_of(trial))
        return self._run_of(trial, self._open[trial.config_id])

    def report(self, run: Run, report: EpochReport) -> bool:
        """Hear of an epoch; returns whether the trial shall stop."""
        self._listener.epoch_ended(run.trial, report)
        if not run.curve or report.epoch > run.curve[-1].epoch:
            run.curve.append(CurvePoint.of(report))
        progress = run.progress
        if progress.configuration.row == CONTROL:
            return self.is_condemned(run)
        judge = self._limits.judge
        if judge.add(progress.member, fold=run.trial.fold, epoch=report.epoch, score=report.score):
            self._ledger.add_rung(
                RungRecord(
                    model=run.trial.model,
                    config_id=run.trial.config_id,
                    fold=run.trial.fold,
                    epoch=report.epoch,
                    score=report.score,
                )
            )
        self._review(progress)
        return self.is_condemned(run)

    def is_condemned(self, run: Run) -> bool:
        """Return whether a running trial shall stop at its next report."""
        return run.progress.is_over or bool(self._limits.meter.is_time_up())

    def begin(self, run: Run) -> None:
        """Hear that a trial has its resources."""
        self._limits.meter.start(run.name, cpus=run.cpus, gpus=run.gpus)
        if not self.is_condemned(run):
            self._listener.trial_started(run.trial)

    def finish(self, run: Run, result: TrialResult) -> None:
        """Write down a result."""
        progress, fold = run.progress, run.trial.fold
        progress.scores[fold] = result.score
        best = next((one for one in result.epochs if one.epoch == result.best_epoch), None)
        self._write(
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
            checkpoint=result.checkpoint,
            seconds=result.seconds,
            curve=tuple(CurvePoint.of(one) for one in result.epochs) or tuple(run.curve),
            initialized=dict(result.initialized) if result.initialized else None,
        )
        if progress.configuration.row != CONTROL:
            self._limits.judge.finish(progress.member, fold=fold, score=result.score)
            self._review(progress)
        self._settle(progress)

    def stop(self, run: Run) -> None:
        """Write down a trial that was told to stop; one that had not begun leaves no trace."""
        if not run.curve:
            self._limits.meter.end(run.name)
            if not run.progress.is_over:
                run.progress.waiting.insert(0, run.trial)
            return
        if run.progress.is_over:
            stopped = run.progress.stopped
            reason = str(stopped) if stopped else "another fold of its configuration failed"
            self._write(run, status="stopped", reason=reason, curve=tuple(run.curve))
        else:
            reason = f"{self._limits.meter.is_time_up() or 'the search'} ended; it can go on"
            self._write(run, status="paused", reason=reason, curve=tuple(run.curve))
            run.progress.waiting.insert(0, run.trial)

    def fail(self, run: Run, *, reason: str, final: bool) -> None:
        """Write down an error: the trial is tried again, or its configuration has failed."""
        self._crashes[run.name] += 1
        if final or self._crashes[run.name] >= MAX_CRASHES:
            self._fail(run, reason)
        else:
            run.progress.waiting.insert(0, run.trial)
            self._write(run, status="crashed", reason=reason, curve=tuple(run.curve))
        self._settle(run.progress)

    def _recall_scores(self) -> None:
        """Tell the judge what it knew."""
        judge, model_of = self._limits.judge, self._member_of
        for one in self._ledger.rungs():
            member = model_of(one.model, one.config_id)
            judge.add(member, fold=one.fold, epoch=one.epoch, score=one.score)
        for one in self._ended.values():
            if one.status == "finished" and one.score is not None and one.row != CONTROL:
                member = model_of(one.model, one.config_id)
                judge.finish(member, fold=one.fold, score=one.score)

    def _member_of(self, model: str, config_id: str) -> Member:
        return Member(bracket="all" if self._limits.across_models else model, config_id=config_id)

    def _next_waiting(self) -> TrialConfig | None:
        for progress in list(self._open.values()):
            if (trial := self._pop_ready(progress)) is not None:
                return trial
        return None

    def _pop_ready(self, progress: Progress) -> TrialConfig | None:
        """Return a waiting trial whose start is there; give up a configuration that has none."""
        if progress.waiting:
            self._review(progress)
        for trial in progress.waiting if not progress.is_over else ():
            if id_of(trial) not in self._begun and self.budget_spent:
                continue
            needed = progress.configuration.after.get(trial.fold)
            if needed and needed.rpartition("/")[0] in self._failed:
                self._give_up(progress, trial, needed=needed)
                return None
            ended = self._ended.get(needed) if needed else None
            if needed is None or (ended and ended.status == "finished"):
                progress.waiting.remove(trial)
                return trial
        return None

    def _give_up(self, progress: Progress, trial: TrialConfig, *, needed: str) -> None:
        """Write down that a trial cannot start: the one that it starts from failed."""
        run = self._run_of(trial, progress)
        self._fail(run, f"{needed}, from which it starts, failed or belongs to a row that failed")
        self._settle(progress)

    def _open_next(self) -> TrialConfig | None:
        """Return the first trial of the next configuration that has one left."""
        for progress in self._opened():
            if (trial := self._pop_ready(progress)) is not None:
                return trial
            self._settle(progress)
        return None

    def _opened(self) -> Iterator[Progress]:
        """Open one configuration after another, those that have ended long ago for nothing."""
        while not self._is_closed and (configuration := self._source.next_configuration()):
            if self.budget_spent and configuration.config_id not in self._known:
                self._is_closed = True  # what was begun is ended, and nothing else begun
                return
            self._ledger.add_configuration(
                ConfigurationRecord(
                    model=configuration.model,
                    index=configuration.index,
                    point=configuration.point,
                    config_id=configuration.config_id,
                    row=configuration.row,
                )
            )
            self._folds = tuple(trial.fold for trial in configuration.trials)
            progress = self._recall(configuration)
            self._open[configuration.config_id] = progress
            yield progress

    def _open_control(self) -> TrialConfig | None:
        """Return the next winner's trial on shuffled labels, once everything else has ended."""
        if not self._limits.control or self.budget_spent or self._open or self._source.waits:
            return None
        trials = self._ledger.trials()
        winners = rank(trials, experiment="", folds=self._folds).winners
        for one in trials:
            if one.config_id not in winners or one.fold != self._folds[0]:
                continue
            trial = TrialConfig.from_settings({**one.settings, "shuffle_labels": True})
            control = Configuration(
                index=0, model=one.model, point=one.point, trials=(trial,), row=CONTROL
            )
            if id_of(trial) not in self._ended and one.status == "finished":
                self._open[control.config_id] = self._recall(control)
                return self._pop_ready(self._open[control.config_id])
        return None

    def _recall(self, configuration: Configuration) -> Progress:
        """Return what the ledger knows of a configuration."""
        member = self._member_of(configuration.model, configuration.config_id)
        progress = Progress(configuration=configuration, member=member, waiting=[])
        if stop := self._stops.get(configuration.config_id):
            progress.stopped = verdict_of(stop)
        for trial in configuration.trials:
            record = self._ended.get(id_of(trial))
            if record is not None and record.score is not None:
                progress.scores[trial.fold] = record.score
            elif record is not None and record.status == "failed" and not self._retry_failed:
                progress.failed = True
                self._failed.add(f"{configuration.model}/{configuration.config_id}")
            else:
                progress.waiting.append(trial)
        return progress

    @property
    def _retry_failed(self) -> bool:
        return self._limits.retry_failed

    def _run_of(self, trial: TrialConfig, progress: Progress) -> Run:
        last = self._ended.get(id_of(trial))
        return Run(
            trial=trial,
            attempt=last.attempt + 1 if last else 1,
            progress=progress,
            cpus=trial.ranks * self._limits.cpus_per_rank,
            gpus=trial.ranks * self._limits.gpus_per_rank,
        )

    def _review(self, progress: Progress) -> None:
        """Give a configuration up where the judge says so."""
        if progress.is_over:
            return
        verdict = self._limits.judge.verdict(progress.member)
        if verdict is None:
            return
        progress.stopped = verdict
        configuration = progress.configuration
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
        self._settle(progress)

    def _fail(self, run: Run, reason: str) -> None:
        run.progress.failed = True
        self._failed.add(f"{run.trial.model}/{run.trial.config_id}")
        self._write(run, status="failed", reason=reason, curve=tuple(run.curve))

    def _write(self, run: Run, *, status: str, **facts: object) -> None:
        record = TrialRecord.model_validate(
            {
                "model": run.trial.model,
                "config_id": run.trial.config_id,
                "fold": run.trial.fold,
                "attempt": run.attempt,
                "status": status,
                "point": run.progress.configuration.point,
                "row": run.progress.configuration.row,
                "settings": run.trial.settings,
                "held_s": self._limits.meter.end(run.name),
                "cpus": run.cpus,
                "gpus": run.gpus,
                "ended": self._now(),
                **facts,
            }
        )
        self._ledger.add_trial(record)
        self._ended[run.name] = record
        self._listener.trial_ended(run.trial, record)

    def _settle(self, progress: Progress) -> None:
        """Tell the sampler of a configuration that is over, and forget it."""
        is_whole = len(progress.scores) == len(progress.configuration.trials)
        if not (progress.is_over or is_whole):
            return
        if self._open.pop(progress.configuration.config_id, None) is None:
            return
        if progress.configuration.row == CONTROL:
            return
        if progress.stopped and not progress.failed and not is_whole:
            self._source.observe_stop(
                progress.configuration,
                progress.stopped.mean,
                epoch=progress.stopped.epoch or progress.configuration.trials[0].epochs,
            )
        else:
            mean = sum(progress.scores.values()) / len(progress.scores) if is_whole else None
            self._source.observe(progress.configuration, mean)
