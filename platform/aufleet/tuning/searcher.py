"""Tune's searcher: the next fold of a living configuration, until none is left.

What comes next and what is written down is decided in `campaign`; this is how Tune asks for it.
Last come the winner's test parts, for which the trials' warm actors are as good as they were for
training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from ray.tune.search import Searcher

from aufleet.training.results import EpochReport, TestScore, TrialResult
from aufleet.tuning.campaign import Campaign
from aufleet.tuning.final_scores import FinalScores
from aufleet.tuning.records import TrialRecord
from aufleet.tuning.runs import Failure, Run

OUTCOME = "outcome"
"""The key of the last report to Tune that holds a `TrialResult`, or a `TestScore`, as JSON."""
TRIAL, CHECKPOINT = "trial", "checkpoint"
"""Keys of Tune's configuration: the settings of a trial; the checkpoint to score on the test part,
where the trial is not to be trained."""
TRIAL_RESULT = TypeAdapter(TrialResult)
TEST_SCORE = TypeAdapter(TestScore)


@dataclass(frozen=True, kw_only=True)
class _LiveTest:
    """A test part that is being scored."""

    record: TrialRecord
    attempt: int


class FoldSearcher(Searcher):
    """Hands trials to Tune and hears how they end."""

    def __init__(self, campaign: Campaign, *, final_scores: FinalScores) -> None:
        """Hand out what a campaign has, then what is to be scored."""
        super().__init__()
        self._campaign, self._final_scores = campaign, final_scores
        self._live: dict[str, Run | _LiveTest] = {}
        self._errors: dict[str, Failure] = {}
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

    def note_error(self, trial_id: str, failure: Failure) -> None:
        """Remember why a trial is about to end in an error; Tune itself does not tell a searcher.

        Args:
            trial_id: Tune's name of the trial.
            failure: Why.
        """
        self._errors[trial_id] = failure

    def begin(self, trial_id: str) -> bool:
        """Hear that a trial has its resources; returns whether it shall stop before it trains."""
        return self._safely(trial_id, self._campaign.begin)

    def report(self, trial_id: str, report: EpochReport) -> bool:
        """Hear of an epoch; returns whether the trial shall stop."""
        return self._safely(trial_id, lambda run: self._campaign.report(run, report))

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

    def _safely(self, trial_id: str, tell: Callable[[Run], object]) -> bool:
        live = self._live.get(trial_id)
        if not isinstance(live, Run):
            return False
        try:
            tell(live)
            return self._campaign.is_condemned(live)
        except Exception as error:
            self._broken = self._broken or error
            return False

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        run = self._campaign.next_run()
        if run is not None:
            self._live[trial_id] = run
            return {TRIAL: run.trial.settings}
        # What waits for another trial's weights or scores comes when that has ended.
        if self._campaign.is_waiting:
            return None
        return self._suggest_test(trial_id)

    def _suggest_test(self, trial_id: str) -> dict[str, Any] | str | None:
        if any(isinstance(one, Run) for one in self._live.values()):
            return None
        test = self._final_scores.next()
        if test is None:
            return None if self._live else self.FINISHED
        record, attempt = test
        self._live[trial_id] = _LiveTest(record=record, attempt=attempt)
        return {TRIAL: record.settings, CHECKPOINT: record.checkpoint}

    def _end(self, trial_id: str, *, result: dict[str, Any] | None, error: bool) -> None:
        live = self._live.pop(trial_id)
        outcome = result.get(OUTCOME) if result and not error else None
        failure = self._errors.pop(trial_id, Failure(reason="it ended without a word"))
        if isinstance(live, _LiveTest):
            if outcome is not None:
                self._final_scores.add(live.record, TEST_SCORE.validate_json(outcome))
            else:
                self._final_scores.add_error(live.record, failure, attempt=live.attempt)
        elif outcome is not None:
            self._campaign.finish(live, TRIAL_RESULT.validate_json(outcome))
        elif error:
            self._campaign.fail(live, failure)
        else:
            self._campaign.stop(live)
