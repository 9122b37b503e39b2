"""What the ledger says about an experiment, arranged for people."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aufleet.errors import ObjectMissingError
from aufleet.storage import Store
from aufleet.tuning.experiment import Experiment
from aufleet.tuning.judge import Judge, Member, RungRow
from aufleet.tuning.leaderboard import Leaderboard, Row, Scores, rank
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.meter import Meter
from aufleet.tuning.records import CONTROL, StopRecord, TestRecord, TrialRecord
from aufleet.tuning.runs import limits_of

FILE = "report/experiment.json"
"""Key of the whole experiment file, with what explains it."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The mean validation F1 of a configuration over the folds that reached each epoch.

    Attributes:
        config_id: Which configuration.
        points: (epoch, mean F1); only epochs that all its begun folds have.
        status: As in the leaderboard.
    """

    config_id: str
    points: Sequence[tuple[int, float]]
    status: str


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the trials of a family took.

    Attributes:
        trials: Trials that were begun.
        epochs: Epochs that were trained.
        all_epochs: Epochs that all folds of all its configurations would have taken.
        hours: Hours that attempts held their resources, added up.
        cpu_hours: The same times CPUs.
        gpu_hours: The same times GPUs.
        crashes: Attempts that crashed.
    """

    trials: int
    epochs: int
    all_epochs: int
    hours: float
    cpu_hours: float
    gpu_hours: float
    crashes: int


@dataclass(frozen=True, kw_only=True)
class Family:
    """One network and all its configurations."""

    model: str
    rows: Sequence[Row]
    """The best first."""
    curves: Sequence[Curve]
    cost: Cost
    rungs: Sequence[RungRow]
    stops: Sequence[StopRecord]
    tests: Sequence[TestRecord]
    """Of the winner."""
    trials: Sequence[TrialRecord]
    """The winner's, one a fold."""

    @property
    def winner(self) -> Row | None:
        """The best configuration that has all its folds."""
        return next((row for row in self.rows if row.status == "finished"), None)


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything that the page shows."""

    experiment: Experiment
    uri: str
    board: Leaderboard
    families: Sequence[Family]
    shuffled: Mapping[str, Scores] = field(default_factory=dict)
    """Model -> its best configuration on shuffled labels."""
    seconds: float = 0.0
    """How long drivers ran."""

    @property
    def labels(self) -> list[str]:
        """Units or grades, in the order of the data set."""
        for row in self.board.rows:
            if row.validation:
                return list(row.validation.per_label)
        return []


def read_content(store: Store) -> Content:
    """Return what there is to report on the experiment in a store.

    Raises:
        ConfigError: There is no experiment.
    """
    ledger = Ledger(store)
    identity = ledger.describe_experiment()
    experiment = _read_experiment(store, identity)
    trials, stops, tests = ledger.trials(), ledger.stops(), ledger.tests()
    board = rank(
        trials, tests=tests, stops=stops, experiment=experiment.name, folds=experiment.folds
    )
    judge = limits_of(experiment, meter=Meter(experiment.budget)).judge
    _fill(judge, ledger, across=bool(experiment.early_stopping.across_models))
    families = [
        _family(model, board=board, trials=trials, stops=stops, tests=tests, judge=judge)
        for model in dict.fromkeys(row.model for row in board.rows)
    ]
    return Content(
        experiment=experiment,
        uri=store.uri,
        board=board,
        families=families,
        shuffled=_shuffled(store, experiment.name) | _controls(trials),
        seconds=sum(one.held_s for one in trials),
    )


def _read_experiment(store: Store, identity: Mapping[str, Any]) -> Experiment:
    try:
        return Experiment.model_validate_json(store.read(FILE))
    except ObjectMissingError:
        plain = _without_none(identity)
        if plain["sampler"]["kind"] != "grid":
            plain["sampler"].setdefault("configurations", 1)  # more of them are the same search
        return Experiment.model_validate(plain)


def _without_none(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(one) if isinstance(one, Mapping) else one
        for key, one in plain.items()
        if one is not None
    }


def _fill(judge: Judge, ledger: Ledger, *, across: bool) -> None:
    def member_of(model: str, config_id: str) -> Member:
        return Member(bracket="all" if across else model, config_id=config_id)

    for one in ledger.rungs():
        member = member_of(one.model, one.config_id)
        judge.add(member, fold=one.fold, epoch=one.epoch, score=one.score)
    for one in ledger.trials():
        if one.status == "finished" and one.score is not None and one.row != CONTROL:
            judge.finish(member_of(one.model, one.config_id), fold=one.fold, score=one.score)


def _family(
    model: str,
    *,
    board: Leaderboard,
    trials: Sequence[TrialRecord],
    stops: Sequence[StopRecord],
    tests: Sequence[TestRecord],
    judge: Judge,
) -> Family:
    rows = [row for row in board.rows if row.model == model]
    mine = [one for one in trials if one.model == model]
    winner = next((row.config_id for row in rows if row.status == "finished"), None)
    ids = {row.config_id for row in rows}
    return Family(
        model=model,
        rows=rows,
        curves=_curves(rows, mine),
        cost=_cost(mine, rows),
        rungs=[one for one in judge.rows() if one.member.config_id in ids],
        stops=[one for one in stops if one.model == model],
        tests=[one for one in tests if one.config_id == winner],
        trials=[one for one in mine if one.config_id == winner and one.status == "finished"],
    )


def _curves(rows: Sequence[Row], trials: Sequence[TrialRecord]) -> list[Curve]:
    folds: dict[str, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for one in trials:
        for point in one.curve:
            folds[one.config_id][one.fold].setdefault(point.epoch, point.score)
    curves = []
    for row in rows:
        known = list(folds[row.config_id].values())
        shared = sorted(set.intersection(*map(set, known))) if known else []
        points = [(epoch, statistics.fmean(one[epoch] for one in known)) for epoch in shared]
        curves.append(Curve(config_id=row.config_id, points=points, status=row.status))
    return curves


def _cost(trials: Sequence[TrialRecord], rows: Sequence[Row]) -> Cost:
    reached: dict[str, int] = {}
    for one in trials:
        last = max((point.epoch for point in one.curve), default=0)
        reached[one.trial_id] = max(last, reached.get(one.trial_id, 0))
    folds = len({one.fold for one in trials})
    epochs = {one.config_id: int(one.settings.get("epochs", 0)) for one in trials}
    return Cost(
        trials=len(reached),
        epochs=sum(reached.values()),
        all_epochs=folds * sum(epochs.get(row.config_id, 0) for row in rows),
        hours=sum(one.held_s for one in trials) / 3600,
        cpu_hours=sum(one.held_s * one.cpus for one in trials) / 3600,
        gpu_hours=sum(one.held_s * one.gpus for one in trials) / 3600,
        crashes=sum(one.status == "crashed" for one in trials),
    )


def _controls(trials: Sequence[TrialRecord]) -> dict[str, Scores]:
    """Return what the winners' settings came to on shuffled labels."""
    return {
        one.model: Scores(
            folds={one.fold: one.score}, per_label=one.per_label, constant=one.constant
        )
        for one in trials
        if one.row == CONTROL and one.score is not None
    }


def _shuffled(store: Store, name: str) -> dict[str, Scores]:
    """Return the scores of the experiment of this name on shuffled labels, where it was run."""
    parent, _, _ = store.uri.rpartition("/")
    other = Ledger(Store(uri=f"{parent}/{name}-shuffled"))
    if not Store(uri=f"{parent}/{name}-shuffled").exists("experiment.json"):
        return {}
    described = other.describe_experiment()
    if not described.get("shuffle_labels"):
        return {}
    board = rank(other.trials(), experiment=name, folds=described["folds"])
    best: dict[str, Scores] = {}
    for row in board.rows:
        if row.validation:
            best.setdefault(row.model, row.validation)
    return best
