"""Configurations ranked by their mean over folds, beside the best constant answer."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aufleet.storage import Store
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.records import CONTROL, StopRecord, TestRecord, TrialRecord


@dataclass(frozen=True, kw_only=True)
class Scores:
    """F1 over the folds of a configuration, on one part of the data.

    Attributes:
        folds: Fold -> macro F1.
        per_label: Unit ("AU12") or grade ("medium") -> mean F1 over folds.
        constant: The same for the best constant answer: always or never the label.
        pooled: Label -> F1 over the test frames of all folds together, another number than the mean
            over folds (`specs/models.md` §1.9); empty for validation.
    """

    folds: Mapping[int, float]
    per_label: Mapping[str, float]
    constant: Mapping[str, float]
    pooled: Mapping[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean macro F1 over folds."""
        return statistics.fmean(self.folds.values())

    @property
    def std(self) -> float:
        """Sample standard deviation over folds; 0 for one fold."""
        return statistics.stdev(self.folds.values()) if len(self.folds) > 1 else 0.0

    @property
    def constant_baseline(self) -> float:
        """Mean F1 over labels of the best constant answer."""
        return statistics.fmean(self.constant.values()) if self.constant else 0.0

    @property
    def pooled_f1(self) -> float | None:
        """Mean over labels of the pooled F1."""
        return statistics.fmean(self.pooled.values()) if self.pooled else None

    def to_plain(self) -> dict[str, Any]:
        """Return what stands in JSON."""
        pooled = {"pooled_f1": self.pooled_f1} if self.pooled else {}
        return pooled | {
            "folds": {str(fold): score for fold, score in sorted(self.folds.items())},
            "mean": self.mean,
            "std": self.std,
            "constant_baseline": self.constant_baseline,
            "per_label": {
                label: {"f1": f1, "constant": self.constant.get(label, 0.0)}
                | ({"pooled_f1": self.pooled[label]} if label in self.pooled else {})
                for label, f1 in self.per_label.items()
            },
        }


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration.

    Attributes:
        model: Name of the network.
        config_id: Names the configuration.
        hyperparameters: The searched settings, or those of the table's row.
        row: Its name in a table; empty in a search.
        status: "finished", "incomplete", "stopped" (given up early), or "failed".
        reason: Why it failed or was given up.
        validation: Scores on the validation subjects, over the folds that ended; None for none.
        test: Scores on the test parts; None where it was not scored.
    """

    model: str
    config_id: str
    hyperparameters: Mapping[str, Any]
    status: str
    row: str = ""
    reason: str = ""
    validation: Scores | None = None
    test: Scores | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return what stands in JSON."""
        scores = self.validation.to_plain() if self.validation else _NO_SCORES
        return {
            "model": self.model,
            "row": self.row,
            "config_id": self.config_id,
            "hyperparameters": dict(self.hyperparameters),
            **scores,
            "status": self.status,
            "reason": self.reason,
            "test": self.test.to_plain() if self.test else None,
        }


_NO_SCORES: dict[str, Any] = {
    "folds": {},
    "mean": None,
    "std": None,
    "constant_baseline": None,
    "per_label": {},
}


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """All configurations of an experiment, the best first."""

    experiment: str
    rows: Sequence[Row]
    ended_early: str = ""
    """Which limit ended the search before its end; a larger one continues it."""

    @property
    def winner(self) -> Row | None:
        """The best configuration of which all folds ended."""
        return self.rows[0] if self.rows and self.rows[0].status == "finished" else None

    @property
    def winners(self) -> set[str]:
        """The best such configuration of each model, by its config_id."""
        best = {row.model: row.config_id for row in reversed(self.rows) if row.status == "finished"}
        return set(best.values())

    def to_plain(self) -> list[dict[str, Any]]:
        """Return what `aufleet leaderboard --json` prints."""
        return [row.to_plain() for row in self.rows]

    def to_json(self) -> str:
        """Return the rows as a JSON document."""
        return json.dumps(self.to_plain(), indent=2)


def read_leaderboard(store: Store) -> Leaderboard:
    """Return the leaderboard of the experiment in a store.

    Raises:
        ConfigError: There is no experiment.
    """
    ledger = Ledger(store)
    description = ledger.describe_experiment()
    return rank(
        ledger.trials(),
        tests=ledger.tests(),
        stops=ledger.stops(),
        experiment=description["name"],
        folds=description["folds"],
    )


def rank(
    trials: Iterable[TrialRecord],
    *,
    tests: Iterable[TestRecord] = (),
    stops: Iterable[StopRecord] = (),
    experiment: str,
    folds: Sequence[int],
) -> Leaderboard:
    """Return configurations by their mean over all folds, ties by their validation loss.

    What was trained on shuffled labels as a control is no configuration. One without all its folds
    is never ahead of one that has them, however well its folds did.
    """
    attempts: dict[str, dict[int, TrialRecord]] = {}
    for one in trials:
        if one.row == CONTROL:
            continue
        attempts.setdefault(one.config_id, {})[one.fold] = one
    scored: dict[str, list[TestRecord]] = {}
    for test in tests:
        scored.setdefault(test.config_id, []).append(test)
    reasons = {one.config_id: one.reason for one in stops}
    rows = [
        (
            _row(
                list(one.values()),
                tests=scored.get(config_id, []),
                folds=folds,
                stopped=reasons.get(config_id, ""),
            ),
            one,
        )
        for config_id, one in attempts.items()
    ]
    rows.sort(key=lambda pair: _order(pair[0], pair[1].values()))
    return Leaderboard(experiment=experiment, rows=[row for row, _ in rows])


def _row(
    records: Sequence[TrialRecord],
    *,
    tests: Sequence[TestRecord],
    folds: Sequence[int],
    stopped: str,
) -> Row:
    finished = [one for one in records if one.status == "finished"]
    failed = [one for one in records if one.status == "failed"]
    whole = {one.fold for one in finished} >= set(folds)
    status = "failed" if failed else "finished" if whole else "stopped" if stopped else "incomplete"
    return Row(
        model=records[0].model,
        config_id=records[0].config_id,
        hyperparameters=records[0].point,
        row=records[0].row,
        status=status,
        reason=failed[0].reason if failed else stopped if status == "stopped" else "",
        validation=_scores(finished),
        test=_scores(tests, pooled=_pooled(tests)),
    )


def _scores(
    records: Sequence[TrialRecord] | Sequence[TestRecord],
    *,
    pooled: Mapping[str, float] | None = None,
) -> Scores | None:
    if not records:
        return None
    return Scores(
        folds={one.fold: one.score for one in records if one.score is not None},
        per_label=_means([one.per_label for one in records]),
        constant=_means([one.constant for one in records]),
        pooled=pooled or {},
    )


def _pooled(tests: Sequence[TestRecord]) -> dict[str, float]:
    """Return F1 per label over the frames of all test parts together."""
    if not all(one.counts for one in tests):
        return {}
    summed: dict[str, list[int]] = {}
    for test in tests:
        for label, counts in test.counts.items():
            before = summed.get(label, [0, 0, 0])
            summed[label] = [a + b for a, b in zip(before, counts, strict=True)]
    return {
        label: 2 * right / max(1, 2 * right + alarms + misses)
        for label, (right, alarms, misses) in summed.items()
    }


def _means(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        label: statistics.fmean(part[label] for part in parts if label in part)
        for label in parts[0]
    }


def _order(row: Row, records: Iterable[TrialRecord]) -> tuple[bool, float, float, str]:
    mean = row.validation.mean if row.validation else float("-inf")
    losses = [one.loss for one in records if one.loss is not None]
    loss = statistics.fmean(losses) if losses else float("inf")
    return row.status != "finished", -mean, loss, row.config_id
