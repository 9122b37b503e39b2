"""How far a trial is trained before others get their turn: the order of a search.

Without rungs a configuration is trained fold after fold, each whole, before the next one begins.

With ASHA the configurations of a bracket climb together, and pause at each rung until the others
have got there: who goes on follows from scores, not from who came first. Their first fold climbs
alone; the first few configurations also run their other folds to the first rung, which tells what a
lead on one fold is worth. After the last rung the leader is trained whole, fold after fold, then
the next that can still win.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from aufleet.training.config import TrialConfig
from aufleet.tuning.judge import Judge
from aufleet.tuning.records import CONTROL
from aufleet.tuning.runs import Progress

CALIBRATING = 3
"""Configurations of a bracket that run all their folds to the first rung."""
COHORT, LEARNING_COHORT = 32, 10
"""Configurations of a bracket that climb together; fewer where scores decide what is proposed."""


@dataclass(kw_only=True)
class Ladder:
    """The rungs of a search, and who stands where."""

    judge: Judge
    cohort: int = COHORT
    """Configurations of a bracket that climb together."""
    calibrates: bool = True
    """Whether other folds than the first may begin for the sake of comparisons."""
    _rungs: dict[int, list[int]] = field(default_factory=dict)
    """Epochs of a trial -> the rungs below."""

    @property
    def has_rungs(self) -> bool:
        """Whether trials pause."""
        return self.judge.rules.kind == "asha"

    def rungs_of(self, progress: Progress) -> list[int]:
        """Return the epochs at which a configuration pauses; none for a control."""
        if not self.has_rungs or progress.configuration.row == CONTROL:
            return []
        epochs = progress.configuration.trials[0].epochs
        if epochs not in self._rungs:
            is_rung = self.judge.rules.is_rung
            self._rungs[epochs] = [epoch for epoch in range(1, epochs) if is_rung(epoch)]
        return self._rungs[epochs]

    def level(self, progress: Progress) -> int:
        """Return how many rungs a configuration has passed."""
        rungs = self.rungs_of(progress)
        if rungs and self._calibrating(progress, rungs[0]):
            return 0
        return sum(self._reached(progress, progress.first) >= rung for rung in rungs)

    def needs_other_folds(self, progress: Progress) -> bool:
        """Return whether a configuration's other folds are due: for comparisons, or to be whole."""
        level = self.level(progress)
        return level == 0 or level == len(self.rungs_of(progress))

    def candidates(self, progress: Progress) -> list[TrialConfig]:
        """Return which of a configuration's waiting trials may run now, the first one first."""
        rungs = self.rungs_of(progress)
        if not rungs or progress.first.fold in progress.scores:
            return list(progress.waiting)
        climbing = self._calibrating(progress, rungs[0]) or [progress.first]
        return [trial for trial in progress.waiting if trial in climbing]

    def until(self, progress: Progress, trial: TrialConfig) -> int:
        """Return the epoch at which a trial pauses, or its last."""
        rungs = self.rungs_of(progress)
        if rungs and trial in self._calibrating(progress, rungs[0]):
            return rungs[0]
        reached = self._reached(progress, trial)
        above = [rung for rung in rungs if rung > reached and trial is progress.first]
        return above[0] if above else trial.epochs

    def order(self, progress: Progress) -> tuple[int, float, int]:
        """Return the key by which configurations get their turn: the least first.

        Those on a lower rung first; on the same one the best first.
        """
        level, rungs = self.level(progress), self.rungs_of(progress)
        if not level:
            return (0, 0.0, progress.number)
        fold, epoch = progress.first.fold, rungs[level - 1]
        score = self.judge.score_at(progress.member, fold=fold, epoch=epoch)
        return (level, float("inf") if score is None else -score, progress.number)

    def is_settled(self, progress: Progress, others: Iterable[Progress]) -> bool:
        """Return whether all of its bracket that still live have come as far."""
        if not self.rungs_of(progress):
            return True
        level = self.level(progress)
        return all(
            one.is_over or one.member.bracket != progress.member.bracket or self.level(one) >= level
            for one in others
        )

    def _calibrating(self, progress: Progress, rung: int) -> list[TrialConfig]:
        """Return the trials that are still to come to the first rung for the sake of the others."""
        trials = progress.configuration.trials
        if progress.number >= CALIBRATING or len(trials) == 1 or not self.calibrates:
            return []
        return [trial for trial in trials if self._reached(progress, trial) < rung]

    def _reached(self, progress: Progress, trial: TrialConfig) -> int:
        if trial.fold in progress.scores:
            return trial.epochs
        return progress.reached.get(trial.fold, 0)
