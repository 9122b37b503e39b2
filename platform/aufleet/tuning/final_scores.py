"""The winners' folds, scored on the test parts: each once in the life of an experiment."""

from collections import deque
from collections.abc import Sequence

from aufleet.training.results import TestScore
from aufleet.tuning.events import SearchListener
from aufleet.tuning.leaderboard import rank
from aufleet.tuning.ledger import Ledger, TestRecord, TrialRecord
from aufleet.tuning.runs import Failure

MAX_ATTEMPTS = 2


class FinalScores:
    """Hands out checkpoints of each model's winner that are not scored yet, and notes scores."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        folds: Sequence[int],
        listener: SearchListener,
        of_all: bool = False,
    ) -> None:
        """Prepare; who wins is asked when the first checkpoint is.

        Args:
            ledger: Knows the trials, and keeps the scores.
            folds: All folds of the experiment.
            listener: Hears of it.
            of_all: Score every configuration that has all its folds: the rows of a table.
        """
        self._ledger, self._folds, self._listener = ledger, folds, listener
        self._of_all = of_all
        self._waiting: deque[tuple[TrialRecord, int]] | None = None
        self.errors: list[str] = []
        """Why a checkpoint could not be scored."""

    def next(self) -> tuple[TrialRecord, int] | None:
        """Return the next trial to score and the number of the attempt, or None."""
        if self._waiting is None:
            self._waiting = deque((record, 1) for record in self._find())
            self._listener.test_started(num_folds=len(self._waiting))
        return self._waiting.popleft() if self._waiting else None

    def add(self, record: TrialRecord, score: TestScore) -> None:
        """Write down a score."""
        test = TestRecord(
            model=record.model,
            config_id=record.config_id,
            fold=record.fold,
            score=score.score,
            per_label=dict(score.per_label),
            constant=dict(score.constant),
            accuracy_per_label=dict(score.accuracy_per_label),
            auc=dict(score.auc),
            landmark_error=score.landmark_error,
            kappa=score.kappa,
            counts=dict(score.counts),
            num_frames=score.num_frames,
        )
        self._ledger.add_test(test)
        self._listener.test_ended(test)

    def add_error(self, record: TrialRecord, failure: Failure, *, attempt: int) -> None:
        """Let a checkpoint be scored again, or remember why it cannot be."""
        if failure.is_final or attempt >= MAX_ATTEMPTS:
            self.errors.append(f"{record.trial_id}: {failure.reason}")
        elif self._waiting is not None:
            self._waiting.append((record, attempt + 1))

    def _find(self) -> list[TrialRecord]:
        trials = self._ledger.trials()
        board = rank(trials, experiment="", folds=self._folds)
        whole = {row.config_id for row in board.rows if row.status == "finished"}
        winners = whole if self._of_all else board.winners
        scored = {(one.config_id, one.fold) for one in self._ledger.tests()}
        return [
            one
            for one in trials
            if one.config_id in winners
            and one.status == "finished"
            and (one.config_id, one.fold) not in scored
        ]
