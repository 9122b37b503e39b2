"""A search over curves that are known already: the real searcher and scheduler, no training.

Plays Tune: asks the searcher for trials, tells the scheduler each epoch, stops what it says. An
epoch of any trial takes one tick; so many trials run at once as there are slots.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

from ray.tune.schedulers import TrialScheduler

from aufleet.storage import Store
from aufleet.training.config import TrialConfig
from aufleet.training.results import EpochReport, TrialResult
from aufleet.tuning.campaign import Campaign
from aufleet.tuning.curves import Curves, RecordedConfiguration
from aufleet.tuning.events import Listeners
from aufleet.tuning.final_scores import FinalScores
from aufleet.tuning.grid import Configuration
from aufleet.tuning.ledger import Ledger, Record
from aufleet.tuning.runs import Limits
from aufleet.tuning.scheduler import FoldScheduler
from aufleet.tuning.searcher import OUTCOME, TRIAL, TRIAL_RESULT, FoldSearcher
from aufleet.tuning.trainable import REPORT, REPORTS


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a simulated search came to.

    Attributes:
        epochs: Trained, all folds of all configurations together.
        best: Its winner's score, had all been trained; None where no configuration ended whole.
        trace: (epochs so far, score of the best so far) whenever a configuration ended whole.
        stopped: Configurations that were given up.
        whole: (epochs so far, curve of the last fold) whenever a configuration ended whole.
    """

    epochs: int
    best: float | None
    trace: Sequence[tuple[int, float]]
    stopped: int
    whole: Sequence[tuple[int, tuple[float, ...]]] = ()

    def epochs_to(self, score: float) -> int | None:
        """Return the epochs after which the best stayed at a score or above; None for never."""
        reached = None
        for epochs, best in self.trace:
            if best < score:
                reached = None
            elif reached is None:
                reached = epochs
        return reached


_TUNE = cast(Any, SimpleNamespace(update_max_pending_trials=lambda number: None))
"""Stands for Tune's controller."""


class _MemoryLedger(Ledger):
    """A ledger that nobody reads again."""

    def _read_all(self) -> dict[str, Record]:
        return {}

    def _add(self, record: Record) -> None:
        self._records.setdefault(record.key, record)


class _NoFinalScores(FinalScores):
    """Scores nothing: there are no test parts."""

    def next(self) -> None:
        return None


@dataclass(kw_only=True)
class _CurveSource:
    """Hands out recorded configurations in a random order."""

    curves: Curves
    seed: int
    waits: bool = False
    learns: bool = False
    by_id: dict[str, RecordedConfiguration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = list(range(len(self.curves.configurations)))
        random.Random(self.seed).shuffle(numbers)
        self._order = iter(numbers)

    def next_configuration(self) -> Configuration | None:
        number = next(self._order, None)
        if number is None:
            return None
        recorded = self.curves.configurations[number]
        trials = tuple(_trial_of(number, fold, self.curves.epochs) for fold in self.curves.folds)
        made = Configuration(
            index=number, model=recorded.model, point=recorded.point, trials=trials
        )
        self.by_id[made.config_id] = recorded
        return made

    def observe(self, configuration: Configuration, score: float | None) -> None:
        pass

    def observe_stop(self, configuration: Configuration, score: float, *, epoch: int) -> None:
        pass


@cache
def _trial_of(number: int, fold: int, epochs: int) -> TrialConfig:
    """Return a trial; any network will do, and the seed tells the configurations apart."""
    return TrialConfig(model="resnet18", dataset="simulated", fold=fold, epochs=epochs, seed=number)


def simulate(curves: Curves, *, limits: Limits, slots: int = 1, seed: int = 0) -> Outcome:
    """Search over known curves.

    Args:
        curves: What training would report.
        limits: When configurations are given up.
        slots: Trials that run at once.
        seed: Decides the order of the configurations.
    """
    ledger, nobody = _MemoryLedger(Store(uri="simulated")), Listeners([])
    source = _CurveSource(curves=curves, seed=seed)
    campaign = Campaign(source, ledger=ledger, listener=nobody, limits=limits)
    scores = _NoFinalScores(ledger, folds=curves.folds, listener=nobody)
    searcher = FoldSearcher(campaign, final_scores=scores)
    scheduler = FoldScheduler(searcher)
    running: list[_Running] = []
    whole: dict[str, dict[int, float]] = {}
    trained: Counter[tuple[str, int]] = Counter()
    epochs, number, trace, ended = 0, 0, [], []
    best: tuple[float, str] | None = None
    while True:
        while len(running) < slots:
            answer = searcher.suggest(f"trial-{number}")
            if not isinstance(answer, dict):
                break
            settings = answer[TRIAL]
            trial = _trial_of(settings["seed"], settings["fold"], settings["epochs"])
            curve = source.by_id[trial.config_id].curves[trial.fold]
            done = trained[trial.config_id, trial.fold]
            running.append(_Running(name=f"trial-{number}", trial=trial, curve=curve, done=done))
            number += 1
        searcher.check()
        if not running:
            break
        for one in list(running):
            if not one.step(searcher, scheduler):
                running.remove(one)
            epochs += one.trained
            trained[one.trial.config_id, one.trial.fold] = one.done
            if not one.is_whole:
                continue
            folds = whole.setdefault(one.trial.config_id, {})
            folds[one.trial.fold] = max(one.curve)
            if len(folds) == len(curves.folds):
                mean = sum(folds.values()) / len(folds)
                best = (
                    max(best, (mean, one.trial.config_id)) if best else (mean, one.trial.config_id)
                )
                trace.append((epochs, source.by_id[best[1]].score))
                ended.append((epochs, tuple(one.curve)))
    return Outcome(
        epochs=epochs,
        best=source.by_id[best[1]].score if best else None,
        trace=trace,
        stopped=len(ledger.stops()),
        whole=ended,
    )


@dataclass(kw_only=True, eq=False)
class _Running:
    """A trial that has its place."""

    name: str
    trial: TrialConfig
    curve: Sequence[float]
    done: int = 0
    """Epochs of this attempt and those before."""
    trained: int = 0
    """Epochs of the last step: 0 or 1."""
    has_begun: bool = False

    @property
    def is_whole(self) -> bool:
        return self.done == len(self.curve) and self.trained == 1

    def step(self, searcher: FoldSearcher, scheduler: FoldScheduler) -> bool:
        """Train an epoch; returns whether the trial goes on."""
        self.trained = 0
        if not self.has_begun and searcher.begin(self.name):
            searcher.on_trial_complete(self.name, result={})
            return False
        self.has_begun = True
        self.done, self.trained = self.done + 1, 1
        report = self._report()
        told = {REPORT: REPORTS.dump_json(report).decode()}
        trial = cast(Any, SimpleNamespace(trial_id=self.name))
        decision = scheduler.on_trial_result(_TUNE, trial, told)
        if self.done == len(self.curve):
            self._finish(searcher)
            return False
        if decision == TrialScheduler.STOP:
            searcher.on_trial_complete(self.name, result=told)
            return False
        return True

    def _report(self) -> EpochReport:
        score = self.curve[self.done - 1]
        return EpochReport(
            epoch=self.done,
            score=score,
            loss=1 - score,
            train_loss=1 - score,
            per_label={},
            seconds=0.0,
            frames_per_s=0.0,
            learning_rate=0.0,
        )

    def _finish(self, searcher: FoldSearcher) -> None:
        score = max(self.curve)
        result = TrialResult(
            best_epoch=self.curve.index(score) + 1,
            score=score,
            loss=1 - score,
            per_label={},
            constant={},
            checkpoint="",
            epochs=(),
            seconds=0.0,
        )
        outcome = {OUTCOME: TRIAL_RESULT.dump_json(result).decode()}
        searcher.on_trial_complete(self.name, result=outcome)
