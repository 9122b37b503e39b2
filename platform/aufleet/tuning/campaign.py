"""The configurations that are open: which fold comes next, who lives, what is written down.

Knows nothing of Tune. Who gets the next turn, and for how many epochs, is the ladder's business. A
configuration that failed or was given up gets no further folds. What the ledger holds as ended is
never handed out again.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from aufleet.training.config import TrialConfig
from aufleet.training.results import EpochReport, TrialResult
from aufleet.tuning.bookkeeping import Bookkeeping
from aufleet.tuning.events import SearchListener
from aufleet.tuning.grid import Configuration, Source, id_of
from aufleet.tuning.judge import Member
from aufleet.tuning.ladder import COHORT, LEARNING_COHORT, Ladder
from aufleet.tuning.leaderboard import rank
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.records import CONTROL, CurvePoint, TrialRecord, trial_id
from aufleet.tuning.runs import Failure, Limits, Progress, Run, verdict_of

MAX_CRASHES, MAX_LOST = 2, 5
"""A trial that crashed so often, or lost its node so often, has failed for good."""


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
        self._source, self._ledger, self._listener = source, ledger, listener
        self._limits = limits or Limits()
        self._book = Bookkeeping(ledger, listener=listener, meter=self._limits.meter, now=now)
        self._ladder = Ladder(
            judge=self._limits.judge, cohort=LEARNING_COHORT if source.learns else COHORT
        )
        self._ended: dict[str, TrialRecord] = {}
        self._crashes: Counter[tuple[str, str]] = Counter()
        for record in ledger.trials():
            self._ended[record.trial_id] = record
            self._crashes[record.trial_id, record.status] += 1
        self._stops = {one.config_id: one for one in ledger.stops()}
        self._open: dict[str, Progress] = {}
        self._failed: set[str] = set()
        self._folds: tuple[int, ...] = ()
        self._begun = set(self._ended)
        self._reached: dict[str, int] = {}
        self._numbers: Counter[str] = Counter()
        self._is_opening = True
        self._has_whole = False
        self._num_changes = 0
        """Whatever may change what the judge says."""
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
        if self._limits.meter.is_time_up():
            return None
        if self._ladder.calibrates and self.budget_spent:
            self._ladder.calibrates = False
            self._num_changes += 1
        trial = self._next_open() or self._open_control()
        if trial is None:
            return None
        self._begun.add(id_of(trial))
        return self._run_of(trial, self._open[trial.config_id])

    def report(self, run: Run, report: EpochReport) -> bool:
        """Hear of an epoch; returns whether the trial shall stop."""
        self._listener.epoch_ended(run.trial, report)
        if not run.curve or report.epoch > run.curve[-1].epoch:
            run.curve.append(CurvePoint.of(report))
        progress, run.has_trained = run.progress, True
        if progress.configuration.row == CONTROL:
            return self.is_condemned(run)
        progress.reached[run.trial.fold] = run.curve[-1].epoch
        judge = self._limits.judge
        if judge.add(progress.member, fold=run.trial.fold, epoch=report.epoch, score=report.score):
            self._book.compare(run, report)
            self._num_changes += 1
        self._review(progress)
        if run.until <= report.epoch < run.trial.epochs:
            self._pause_or_go_on(run)
        return self.is_condemned(run)

    def is_condemned(self, run: Run) -> bool:
        """Return whether a running trial shall stop at its next report."""
        return run.progress.is_over or run.pauses or bool(self._limits.meter.is_time_up())

    def begin(self, run: Run) -> None:
        """Hear that a trial has its resources; others may have overtaken it while it waited."""
        self._limits.meter.start(run.name, cpus=run.cpus, gpus=run.gpus)
        run.pauses = not self._may_climb(run.progress)
        if not self.is_condemned(run):
            self._listener.trial_started(run.trial)

    def finish(self, run: Run, result: TrialResult) -> None:
        """Write down a result."""
        progress, fold = run.progress, run.trial.fold
        progress.scores[fold] = result.score
        self._ended[run.name] = self._book.finish(run, result)
        if progress.configuration.row != CONTROL:
            self._limits.judge.finish(progress.member, fold=fold, score=result.score)
            self._num_changes += 1
            self._review(progress)
        self._settle(progress)

    def stop(self, run: Run) -> None:
        """Write down a trial that was told to stop; one that had not begun leaves no trace."""
        if not run.has_trained:
            self._limits.meter.end(run.name)
            if not run.progress.is_over:
                run.progress.put_back(run.trial)
            return
        if run.progress.is_over:
            stopped = run.progress.stopped
            reason = str(stopped) if stopped else "another fold of its configuration failed"
            self._end(run, status="stopped", reason=reason)
        else:
            reason = f"{self._limits.meter.is_time_up() or 'the search'} ended; it can go on"
            if run.pauses:
                reason = f"waits after epoch {run.curve[-1].epoch} until others have come as far"
            self._end(run, status="paused", reason=reason)
            run.progress.put_back(run.trial)

    def fail(self, run: Run, failure: Failure) -> None:
        """Write down an error: the trial is tried again, or its configuration has failed."""
        status, most = ("lost", MAX_LOST) if failure.is_lost else ("crashed", MAX_CRASHES)
        self._crashes[run.name, status] += 1
        if failure.is_final or self._crashes[run.name, status] >= most:
            self._fail(run, failure.reason)
        else:
            run.progress.put_back(run.trial)
            self._end(run, status=status, reason=failure.reason)
        self._settle(run.progress)

    def _recall_scores(self) -> None:
        """Tell the judge what it knew."""
        judge, model_of = self._limits.judge, self._member_of
        for one in self._ledger.rungs():
            member = model_of(one.model, one.config_id)
            judge.add(member, fold=one.fold, epoch=one.epoch, score=one.score)
            name = trial_id(one.model, config_id=one.config_id, fold=one.fold)
            self._reached[name] = max(one.epoch, self._reached.get(name, 0))
        for one in self._ended.values():
            if one.status == "finished" and one.score is not None and one.row != CONTROL:
                member = model_of(one.model, one.config_id)
                judge.finish(member, fold=one.fold, score=one.score)

    def _member_of(self, model: str, config_id: str) -> Member:
        return Member(bracket="all" if self._limits.across_models else model, config_id=config_id)

    def _next_open(self) -> TrialConfig | None:
        """Return the first trial of who comes next, or of a configuration that is opened for it."""
        if not self._ladder.has_rungs:
            return self._next_waiting() or self._open_next()
        trial = self._next_waiting(on_ground=True) or self._open_next() or self._next_waiting()
        while trial is None and not self._is_closed:
            self._is_opening = True  # the next cohort
            trial = self._open_next() or self._next_waiting()
        return trial

    def _next_waiting(self, *, on_ground: bool = False) -> TrialConfig | None:
        """Return a waiting trial; `on_ground` leaves out those that have passed a rung."""
        level, order = self._ladder.level, self._ladder.order
        waiting = [one for one in self._open.values() if one.waiting]
        chosen = [one for one in waiting if not level(one)] if on_ground else waiting
        for progress in sorted(chosen, key=order):
            if (trial := self._pop_ready(progress)) is not None:
                return trial
        return None

    def _may_climb(self, progress: Progress) -> bool:
        """Return whether a configuration may go on as things are; gives it up where it must not."""
        self._review(progress)
        if progress.is_over:
            return False
        is_judged = self._ladder.has_rungs and self._ladder.level(progress) > 0
        return not is_judged or self._limits.judge.verdict(progress.member) is None

    def _pause_or_go_on(self, run: Run) -> None:
        """Let a trial at a rung go on if it would be the next anyway."""
        progress, order = run.progress, self._ladder.order
        self._num_changes += 1
        others = (one for one in self._open.values() if one.waiting and not one.is_over)
        is_first = all(one is progress or order(one) > order(progress) for one in others)
        calibrates = self._ladder.until(progress, run.trial) <= run.until
        if is_first and not self._is_opening and not calibrates and self._may_climb(progress):
            run.until = self._ladder.until(progress, run.trial)
        else:
            run.pauses = True

    def _pop_ready(self, progress: Progress) -> TrialConfig | None:
        """Return a waiting trial whose start is there; give up a configuration that has none."""
        if not self._may_climb(progress):
            return None
        for trial in self._ladder.candidates(progress):
            if id_of(trial) not in self._begun and self._is_full(progress):
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
        """Return the first trial of the next configuration that has one left.

        One of an earlier run that has passed a rung gets its turn among the others.
        """
        for progress in self._opened() if self._is_opening else ():
            if (
                not self._ladder.level(progress)
                and (trial := self._pop_ready(progress)) is not None
            ):
                return trial
            self._settle(progress)
        return None

    def _opened(self) -> Iterator[Progress]:
        """Open one configuration after another, those that have ended long ago for nothing."""
        while not self._is_closed and self._is_opening:
            configuration = self._source.next_configuration()
            is_new = configuration is not None and configuration.config_id not in self._known
            if configuration is None or (is_new and self._is_full()):
                # What was begun is ended; a population has more later.
                self._is_closed = configuration is not None or not self._source.waits
                self._is_opening = not self._is_closed
                self._num_changes += 1
                return
            self._book.open(configuration)
            self._folds = tuple(trial.fold for trial in configuration.trials)
            progress = self._recall(configuration)
            self._open[configuration.config_id] = progress
            self._numbers[progress.member.bracket] += 1
            is_full = self._numbers[progress.member.bracket] % self._ladder.cohort == 0
            self._is_opening = not (self._ladder.has_rungs and is_full)
            self._num_changes += 1
            yield progress

    def _is_full(self, progress: Progress | None = None) -> str:
        """Return which limit forbids to begin another trial, or nothing.

        Where many climb together, as many trials are kept back as one needs to be trained whole.
        """
        kept = 0
        if self._ladder.has_rungs and self._folds and not self._has_whole:
            others = progress is None or not self._ladder.needs_other_folds(progress)
            kept = len(self._folds) - 1 if others else 0
        return self._limits.meter.is_full(num_trials=len(self._begun) + kept)

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
        progress = Progress(
            configuration=configuration,
            member=member,
            waiting=[],
            number=self._numbers[member.bracket],
        )
        if stop := self._stops.get(configuration.config_id):
            progress.stopped = verdict_of(stop)
        for trial in configuration.trials:
            record = self._ended.get(id_of(trial))
            curve = record.curve if record else ()
            told = self._reached.get(id_of(trial), 0)
            progress.reached[trial.fold] = max(told, curve[-1].epoch if curve else 0)
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
            until=self._ladder.until(progress, trial),
            curve=list(last.curve) if last else [],
            cpus=trial.ranks * self._limits.cpus_per_rank,
            gpus=trial.ranks * self._limits.gpus_per_rank,
        )

    def _review(self, progress: Progress) -> None:
        """Give a configuration up where the judge says so."""
        if progress.is_over or progress.reviewed_at == self._num_changes:
            return
        progress.reviewed_at = self._num_changes
        if not self._is_settled(progress):
            return
        verdict = self._limits.judge.verdict(progress.member)
        if verdict is None:
            return
        progress.stopped = verdict
        self._book.give_up(progress.configuration, verdict)
        self._settle(progress)

    def _is_settled(self, progress: Progress) -> bool:
        """Return whether all that a configuration is compared with have come as far."""
        if not self._ladder.rungs_of(progress):
            return True
        return not self._is_opening and self._ladder.is_settled(progress, self._open.values())

    def _fail(self, run: Run, reason: str) -> None:
        run.progress.failed = True
        self._failed.add(f"{run.trial.model}/{run.trial.config_id}")
        self._end(run, status="failed", reason=reason)

    def _end(self, run: Run, *, status: str, reason: str) -> None:
        self._ended[run.name] = self._book.end(run, status=status, reason=reason)

    def _settle(self, progress: Progress) -> None:
        """Tell the sampler of a configuration that is over, and forget it."""
        is_whole = len(progress.scores) == len(progress.configuration.trials)
        if not (progress.is_over or is_whole):
            return
        self._has_whole |= is_whole
        if self._open.pop(progress.configuration.config_id, None) is None:
            return
        self._num_changes += 1
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
