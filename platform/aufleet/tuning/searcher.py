"""Tune's searcher: the next fold of a living configuration, until none is left.

Folds of a configuration are handed out before the next configuration, so that its mean is known
early; a configuration of which a fold failed for good gets no further folds. What the ledger holds
as ended is never handed out again. Last come the winner's test parts, for which the trials' warm
actors are as good as they were for training.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from ray.tune.search import Searcher

from aufleet.training.config import TrialConfig
from aufleet.training.results import TestScore, TrialResult
from aufleet.tuning.events import SearchListener
from aufleet.tuning.final_scores import FinalScores
from aufleet.tuning.grid import Configuration, ConfigurationSource, id_of
from aufleet.tuning.ledger import ConfigurationRecord, Ledger, TrialRecord

OUTCOME = "outcome"
"""The key of the last report to Tune that holds a `TrialResult`, or a `TestScore`, as JSON."""
TRIAL, CHECKPOINT = "trial", "checkpoint"
"""Keys of Tune's configuration: the settings of a trial; the checkpoint to score on the test part,
where the trial is not to be trained."""
MAX_ATTEMPTS = 2
TRIAL_RESULT = TypeAdapter(TrialResult)
TEST_SCORE = TypeAdapter(TestScore)


@dataclass(kw_only=True, eq=False)
class _Progress:
    """One configuration and what is known of its folds."""

    configuration: Configuration
    waiting: list[TrialConfig]
    scores: dict[int, float] = field(default_factory=dict)
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class _Live:
    """A trial that Tune holds."""

    trial: TrialConfig
    attempt: int
    progress: _Progress


@dataclass(frozen=True, kw_only=True)
class _LiveTest:
    """A test part that is being scored."""

    record: TrialRecord
    attempt: int


class FoldSearcher(Searcher):
    """Hands trials to Tune and writes down how they end."""

    def __init__(
        self,
        source: ConfigurationSource,
        *,
        ledger: Ledger,
        final_scores: FinalScores,
        listener: SearchListener,
        retry_failed: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Continue from the ledger.

        Args:
            source: Where configurations come from.
            ledger: What ended before, and where ends are written to.
            final_scores: What is to be scored after the last trial.
            listener: Hears how trials end.
            retry_failed: Try again what failed for good in an earlier run.
            now: The clock.
        """
        super().__init__()
        self._source, self._ledger, self._listener, self._now = source, ledger, listener, now
        self._retry_failed, self._final_scores = retry_failed, final_scores
        self._ended: dict[str, TrialRecord] = {}
        for record in ledger.trials():
            self._ended[record.trial_id] = record
        self._open: list[_Progress] = []
        self._failed: set[str] = set()
        self._live: dict[str, _Live | _LiveTest] = {}
        self._errors: dict[str, tuple[str, bool]] = {}
        self._broken: Exception | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the settings of the next trial, None to be asked again, or FINISHED.

        FINISHED is final for Tune, so it waits until no living trial can come back.
        """
        try:
            return self._suggest(trial_id)
        except Exception as error:
            self._broken = self._broken or error
            return None

    def check(self) -> None:
        """Raise what went wrong in here, a store that is away for instance.

        Raised where it happens, Tune would take it for a failure of the trial it is busy with.
        """
        if self._broken is not None:
            raise self._broken

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        trial = self._next_waiting() or self._open_next()
        if trial is None:
            # What waits for another trial's weights comes when that has ended.
            blocked = any(one.waiting and not one.failed for one in self._open)
            return None if blocked else self._suggest_test(trial_id)
        progress = self._open_of(trial)
        last = self._ended.get(id_of(trial))
        attempt = last.attempt + 1 if last else 1
        self._live[trial_id] = _Live(trial=trial, attempt=attempt, progress=progress)
        return {TRIAL: trial.settings}

    def note_error(self, trial_id: str, *, reason: str, final: bool) -> None:
        """Remember why a trial is about to end in an error; Tune itself does not tell a searcher.

        Args:
            trial_id: Tune's name of the trial.
            reason: One sentence.
            final: True where another attempt would end the same way.
        """
        self._errors[trial_id] = (reason, final)

    def is_condemned(self, trial_id: str) -> bool:
        """Return whether a living trial belongs to a configuration that was given up."""
        live = self._live.get(trial_id)
        return isinstance(live, _Live) and live.progress.failed

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Write down how a trial ended; Tune passes the arguments by these names."""
        try:
            self._end(trial_id, result=result, error=error)
        except Exception as problem:
            self._broken = self._broken or problem

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the ledger is the state."""

    def _end(self, trial_id: str, *, result: dict[str, Any] | None, error: bool) -> None:
        live = self._live.pop(trial_id)
        outcome = result.get(OUTCOME) if result and not error else None
        reason, final = self._errors.pop(trial_id, ("it ended without a word", False))
        if isinstance(live, _LiveTest):
            if outcome is not None:
                self._final_scores.add(live.record, TEST_SCORE.validate_json(outcome))
            else:
                self._final_scores.add_error(
                    live.record, attempt=live.attempt, reason=reason, final=final
                )
            return
        if outcome is not None:
            self._finish(live, TRIAL_RESULT.validate_json(outcome))
        elif error:
            self._end_in_error(live, reason, final)
        self._settle(live.progress)

    def _suggest_test(self, trial_id: str) -> dict[str, Any] | str | None:
        if any(isinstance(one, _Live) for one in self._live.values()):
            return None
        test = self._final_scores.next()
        if test is None:
            return None if self._live else self.FINISHED
        record, attempt = test
        self._live[trial_id] = _LiveTest(record=record, attempt=attempt)
        return {TRIAL: record.settings, CHECKPOINT: record.checkpoint}

    def _next_waiting(self) -> TrialConfig | None:
        for progress in list(self._open):
            if (trial := self._pop_ready(progress)) is not None:
                return trial
        return None

    def _pop_ready(self, progress: _Progress) -> TrialConfig | None:
        """Return a waiting trial whose start is there; give up a configuration that has none."""
        for trial in progress.waiting if not progress.failed else ():
            needed = progress.configuration.after.get(trial.fold)
            if needed and needed.rpartition("/")[0] in self._failed:
                self._give_up(progress, trial, needed=needed)
                return None
            ended = self._ended.get(needed) if needed else None
            if needed is None or (ended and ended.status == "finished"):
                progress.waiting.remove(trial)
                return trial
        return None

    def _give_up(self, progress: _Progress, trial: TrialConfig, *, needed: str) -> None:
        """Write down that a trial cannot start: the one that it starts from failed."""
        last = self._ended.get(id_of(trial))
        live = _Live(trial=trial, attempt=last.attempt + 1 if last else 1, progress=progress)
        self._fail(live, f"{needed}, from which it starts, failed or belongs to a row that failed")
        self._settle(progress)

    def _open_next(self) -> TrialConfig | None:
        """Return the first trial of the next configuration that has one left."""
        while (configuration := self._source.next_configuration()) is not None:
            self._ledger.add_configuration(
                ConfigurationRecord(
                    model=configuration.model,
                    index=configuration.index,
                    point=configuration.point,
                    config_id=configuration.config_id,
                    row=configuration.row,
                )
            )
            progress = self._recall(configuration)
            self._open.append(progress)
            if (trial := self._pop_ready(progress)) is not None:
                return trial
            self._settle(progress)
        return None

    def _recall(self, configuration: Configuration) -> _Progress:
        """Return what the ledger knows of a configuration."""
        progress = _Progress(configuration=configuration, waiting=[])
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

    def _open_of(self, trial: TrialConfig) -> _Progress:
        return next(one for one in self._open if one.configuration.config_id == trial.config_id)

    def _finish(self, live: _Live, result: TrialResult) -> None:
        live.progress.scores[live.trial.fold] = result.score
        self._write(
            self._record(live, status="finished").model_copy(
                update={
                    "score": result.score,
                    "loss": result.loss,
                    "best_epoch": result.best_epoch,
                    "per_label": dict(result.per_label),
                    "constant": dict(result.constant),
                    "checkpoint": result.checkpoint,
                    "seconds": result.seconds,
                    "initialized": dict(result.initialized) if result.initialized else None,
                }
            ),
            trial=live.trial,
        )

    def _end_in_error(self, live: _Live, reason: str, final: bool) -> None:
        if final or live.attempt >= MAX_ATTEMPTS:
            self._fail(live, reason)
        else:
            live.progress.waiting.insert(0, live.trial)
            record = self._record(live, status="crashed", reason=reason)
            self._write(record, trial=live.trial)

    def _fail(self, live: _Live, reason: str) -> None:
        live.progress.failed = True
        self._failed.add(f"{live.trial.model}/{live.trial.config_id}")
        self._write(self._record(live, status="failed", reason=reason), trial=live.trial)

    def _record(self, live: _Live, *, status: str, reason: str = "") -> TrialRecord:
        return TrialRecord.model_validate(
            {
                "model": live.trial.model,
                "config_id": live.trial.config_id,
                "fold": live.trial.fold,
                "attempt": live.attempt,
                "status": status,
                "reason": reason,
                "point": live.progress.configuration.point,
                "row": live.progress.configuration.row,
                "settings": live.trial.settings,
                "ended": self._now(),
            }
        )

    def _write(self, record: TrialRecord, *, trial: TrialConfig) -> None:
        self._ledger.add_trial(record)
        self._ended[id_of(trial)] = record
        self._listener.trial_ended(trial, record)

    def _settle(self, progress: _Progress) -> None:
        """Tell the sampler of a configuration that is over, and forget it."""
        is_whole = len(progress.scores) == len(progress.configuration.trials)
        if progress not in self._open or not (progress.failed or is_whole):
            return
        self._open.remove(progress)
        mean = sum(progress.scores.values()) / len(progress.scores) if is_whole else None
        self._source.observe(progress.configuration, mean)
