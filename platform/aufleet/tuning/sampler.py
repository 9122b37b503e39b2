"""Where hyperparameters come from: every combination, independent draws, or Optuna's TPE.

A sampler serves one model. It is asked for point 0, 1, 2, ... in turn and hears each score; what it
answered before a restart is told to it by `recall`, so that the ledger decides, not its state.
"""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from aufleet.tuning.experiment import Experiment, Range

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Point = dict[str, Any]


class Sampler(Protocol):
    """Hands out hyperparameters for one model."""

    @property
    def num_points(self) -> int:
        """How many points there are."""
        ...

    def propose(self, index: int) -> Point:
        """Return a point; each index is asked for once, in order, unless it was recalled."""
        ...

    def recall(self, index: int, point: Point) -> None:
        """Take over a point of an earlier run instead of proposing it."""
        ...

    def observe(self, index: int, score: float | None) -> None:
        """Hear the mean score of a point, or None where its configuration failed."""
        ...

    def observe_stop(self, index: int, score: float, *, epoch: int) -> None:
        """Hear the mean score at which a point's configuration was given up."""
        ...


def sampler_for(experiment: Experiment) -> Sampler:
    """Return a new sampler as the experiment wants it."""
    settings, search = experiment.sampler, experiment.search
    if settings.configurations is None:
        return FixedPoints(grid_points(search))
    if settings.kind == "random":
        draws = range(settings.configurations)
        return FixedPoints([draw_point(search, seed=settings.seed, index=i) for i in draws])
    return OptunaPoints(search, num_points=settings.configurations, seed=settings.seed)


def grid_points(search: Mapping[str, Range]) -> list[Point]:
    """Return every combination of the choices; the last key changes fastest."""
    choices = [one.choice or () for one in search.values()]
    return [dict(zip(search, values, strict=True)) for values in itertools.product(*choices)]


def draw_point(search: Mapping[str, Range], *, seed: int, index: int) -> Point:
    """Return the draw of an index: more configurations later leave the first ones as they are."""
    rng = random.Random(f"{seed}-{index}")
    return {key: _draw(one, rng=rng) for key, one in search.items()}


def _draw(one: Range, *, rng: random.Random) -> Any:  # noqa: ANN401 - a choice may be anything
    if one.choice is not None:
        return rng.choice(one.choice)
    if one.log_uniform is not None:
        low, high = map(math.log, one.log_uniform)
        return math.exp(rng.uniform(low, high))
    low, high = one.uniform or (0.0, 0.0)
    return rng.uniform(low, high)


class FixedPoints:
    """Points that are known from the start; no score changes them."""

    def __init__(self, points: Sequence[Point]) -> None:
        """Keep the points."""
        self._points = points

    @property
    def num_points(self) -> int:
        """How many points there are."""
        return len(self._points)

    def propose(self, index: int) -> Point:
        """Return a point."""
        return self._points[index]

    def recall(self, index: int, point: Point) -> None:
        """Do nothing: the points are the same in every run."""

    def observe(self, index: int, score: float | None) -> None:
        """Do nothing."""

    def observe_stop(self, index: int, score: float, *, epoch: int) -> None:
        """Do nothing."""


class OptunaPoints:
    """Points of Optuna's TPE, by ask and tell."""

    def __init__(self, search: Mapping[str, Range], *, num_points: int, seed: int) -> None:
        """Open a study in memory; the ledger, not Optuna, outlives the process."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # The constant liar keeps points that run at the same time apart from each other.
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._distributions = {key: _distribution(one) for key, one in search.items()}
        self._choices = {key: one.choice for key, one in search.items() if one.choice is not None}
        self._num_points = num_points
        self._trials: dict[int, Any] = {}

    @property
    def num_points(self) -> int:
        """How many points there are."""
        return self._num_points

    def propose(self, index: int) -> Point:
        """Ask for the next point."""
        trial = self._study.ask(self._distributions)
        self._trials[index] = trial
        # Choices travel as positions: Optuna takes only plain values as categories.
        return {
            key: self._choices[key][value] if key in self._choices else value
            for key, value in trial.params.items()
        }

    def recall(self, index: int, point: Point) -> None:
        """Let the next ask be this point."""
        self._study.enqueue_trial(
            {
                key: list(self._choices[key]).index(value) if key in self._choices else value
                for key, value in point.items()
            }
        )
        self._trials[index] = self._study.ask(self._distributions)

    def observe(self, index: int, score: float | None) -> None:
        """Tell the score of a point; a failed one is told as failed."""
        from optuna.trial import TrialState

        if score is None:
            self._study.tell(self._trials[index], state=TrialState.FAIL)
        else:
            self._study.tell(self._trials[index], score)

    def observe_stop(self, index: int, score: float, *, epoch: int) -> None:
        """Tell a point as pruned: TPE ranks it below those that ended, by epoch and score."""
        from optuna.trial import TrialState

        self._trials[index].report(score, step=epoch)
        self._study.tell(self._trials[index], state=TrialState.PRUNED)


def _distribution(one: Range) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if one.choice is not None:
        return CategoricalDistribution(list(range(len(one.choice))))
    low, high = one.log_uniform or one.uniform or (0.0, 0.0)
    return FloatDistribution(low, high, log=one.log_uniform is not None)
