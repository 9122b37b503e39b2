"""What a running search tells: to the terminal, to MLflow, to nobody."""

from collections.abc import Sequence
from typing import Protocol

from aufleet.training.config import TrialConfig
from aufleet.training.results import EpochReport
from aufleet.tuning.records import StopRecord, TestRecord, TrialRecord


class SearchListener(Protocol):
    """Hears of every step of a search, in the driver."""

    def search_started(
        self, *, num_trials: int, ended: Sequence[TrialRecord], num_folds: int = 1
    ) -> None:
        """Hear how many trials there are and which ended in earlier runs."""
        ...

    def trial_started(self, trial: TrialConfig) -> None:
        """Hear that a trial has its resources and runs."""
        ...

    def epoch_ended(self, trial: TrialConfig, report: EpochReport) -> None:
        """Hear of an epoch; a resumed trial may tell an epoch again."""
        ...

    def trial_ended(self, trial: TrialConfig, record: TrialRecord) -> None:
        """Hear how an attempt ended."""
        ...

    def configuration_stopped(self, record: StopRecord) -> None:
        """Hear that a configuration was given up."""
        ...

    def test_started(self, *, num_folds: int) -> None:
        """Hear that the winner is scored on the test parts."""
        ...

    def test_ended(self, record: TestRecord) -> None:
        """Hear how the winner does on one test part."""
        ...

    def search_ended(self) -> None:
        """Hear that nothing more will come; also after an error."""
        ...


class Listeners:
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[SearchListener]) -> None:
        """Tell each of these, in this order."""
        self._listeners = listeners

    def search_started(
        self, *, num_trials: int, ended: Sequence[TrialRecord], num_folds: int = 1
    ) -> None:
        """Pass it on."""
        for one in self._listeners:
            one.search_started(num_trials=num_trials, ended=ended, num_folds=num_folds)

    def trial_started(self, trial: TrialConfig) -> None:
        """Pass it on."""
        for one in self._listeners:
            one.trial_started(trial)

    def epoch_ended(self, trial: TrialConfig, report: EpochReport) -> None:
        """Pass it on."""
        for one in self._listeners:
            one.epoch_ended(trial, report)

    def trial_ended(self, trial: TrialConfig, record: TrialRecord) -> None:
        """Pass it on."""
        for one in self._listeners:
            one.trial_ended(trial, record)

    def configuration_stopped(self, record: StopRecord) -> None:
        """Pass it on."""
        for one in self._listeners:
            one.configuration_stopped(record)

    def test_started(self, *, num_folds: int) -> None:
        """Pass it on."""
        for one in self._listeners:
            one.test_started(num_folds=num_folds)

    def test_ended(self, record: TestRecord) -> None:
        """Pass it on."""
        for one in self._listeners:
            one.test_ended(record)

    def search_ended(self) -> None:
        """Pass it on."""
        for one in self._listeners:
            one.search_ended()
