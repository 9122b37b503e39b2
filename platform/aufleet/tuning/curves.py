"""Learning curves that were recorded or made up, and their file format.

    {"format": "aufleet-curves-1",
     "folds": [1, 2, 3],
     "configurations": [
       {"model": "algrnet", "point": {"learning_rate": 0.01},
        "curves": {"1": [0.31, 0.40, ...], "2": [...], "3": [...]}}, ...]}

A curve holds the validation score after each epoch; all of one file are equally long. A curve of an
experiment's own is as good as one from elsewhere: `record` writes what a ledger holds.
"""

import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aufleet.errors import ConfigError
from aufleet.tuning.records import TrialRecord

FORMAT = "aufleet-curves-1"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecordedConfiguration(_Strict):
    """One configuration with the curve of each fold."""

    model: str
    """Its family."""
    point: dict[str, Any] = {}
    curves: dict[int, tuple[float, ...]]
    """Fold -> score after each epoch."""

    @property
    def score(self) -> float:
        """The mean over folds of the best epoch: what a whole training would have said."""
        return fmean(max(curve) for curve in self.curves.values())


class Curves(_Strict):
    """All curves of a file."""

    format: str = FORMAT
    folds: tuple[int, ...] = Field(min_length=1)
    configurations: tuple[RecordedConfiguration, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "Curves":
        if self.format != FORMAT:
            raise ValueError(f"format is {self.format!r}, not {FORMAT!r}")
        lengths = {len(curve) for one in self.configurations for curve in one.curves.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError("all curves must have the same number of epochs, at least one")
        for number, one in enumerate(self.configurations):
            if set(one.curves) != set(self.folds):
                raise ValueError(f"configuration {number} has not exactly the folds of the file")
            if not all(math.isfinite(score) for curve in one.curves.values() for score in curve):
                raise ValueError(f"configuration {number} has a score that is no number")
        return self

    @property
    def epochs(self) -> int:
        """Epochs of every curve."""
        return len(next(iter(self.configurations[0].curves.values())))

    @property
    def grid_epochs(self) -> int:
        """Epochs that training everything to its end takes."""
        return len(self.configurations) * len(self.folds) * self.epochs


def read_curves(path: Path) -> Curves:
    """Return the curves of a file.

    Raises:
        ConfigError: It is missing, no JSON, or not of the format; names the first mistake.
    """
    try:
        return Curves.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name a file of learning curves") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path}{': ' + where if where else ''}", message) from None


def write_curves(curves: Curves, path: Path) -> None:
    """Write curves to a file."""
    path.write_text(json.dumps(curves.model_dump(mode="json"), indent=None), encoding="utf-8")


def record(trials: Iterable[TrialRecord], *, folds: Sequence[int]) -> Curves:
    """Return the curves of an experiment, of the configurations that have all of them whole.

    Raises:
        ConfigError: There is none: an experiment with early stopping has few whole curves.
    """
    found: dict[str, dict[int, TrialRecord]] = {}
    for one in trials:
        if one.status == "finished" and one.curve:
            found.setdefault(one.config_id, {})[one.fold] = one
    configurations = [
        RecordedConfiguration(
            model=next(iter(parts.values())).model,
            point=next(iter(parts.values())).point,
            curves={fold: tuple(p.score for p in one.curve) for fold, one in parts.items()},
        )
        for parts in found.values()
        if set(parts) == set(folds)
    ]
    if not configurations:
        raise ConfigError("no configuration has whole curves of all its folds")
    return Curves(folds=tuple(folds), configurations=tuple(configurations))


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """What made-up curves are like.

    Attributes:
        families: Family -> score that its best settings come to.
        configurations: Of each family.
        epochs: Of each curve.
        fold_difficulty: Spread of what a fold adds for everybody.
        fold_noise: Spread of what a fold adds for one configuration.
        epoch_noise: Spread of what an epoch adds.
        crossing: How much slower the settings are that end well: curves cross.
    """

    families: Mapping[str, float]
    configurations: int = 32
    epochs: int = 18
    fold_difficulty: float = 0.02
    fold_noise: float = 0.01
    epoch_noise: float = 0.005
    crossing: float = 0.6


def make_up(landscape: Landscape, *, seed: int) -> Curves:
    """Return curves that rise to a level that a learning rate and luck decide.

    The level falls with the square of the distance to the best learning rate (in powers of ten);
    low rates climb more slowly.
    """
    rng = random.Random(seed)
    folds = (1, 2, 3)
    harder = {fold: rng.gauss(0, landscape.fold_difficulty) for fold in folds}
    configurations = []
    for family, level in landscape.families.items():
        for _ in range(landscape.configurations):
            exponent = rng.uniform(-3, 0)
            final = level - 0.05 * (exponent + 1.2 + rng.gauss(0, 0.1)) ** 2 + rng.gauss(0, 0.01)
            slower = 1 + landscape.crossing * max(0.0, -1.0 - exponent)
            pace = math.exp(rng.gauss(math.log(landscape.epochs / 7), 0.4)) * slower
            start = 0.2 + rng.gauss(0, 0.02)
            curves = {}
            for fold in folds:
                end = final + harder[fold] + rng.gauss(0, landscape.fold_noise)
                curves[fold] = tuple(
                    start
                    + (end - start) * (1 - math.exp(-epoch / pace))
                    + rng.gauss(0, landscape.epoch_noise)
                    for epoch in range(1, landscape.epochs + 1)
                )
            configurations.append(
                RecordedConfiguration(
                    model=family, point={"learning_rate": 10**exponent}, curves=curves
                )
            )
    return Curves(folds=folds, configurations=tuple(configurations))
