"""A small experiment, and trials that end as the test says."""

from datetime import UTC, datetime

import pytest

from aufleet.storage import Store, open_store
from aufleet.training.results import TrialResult
from aufleet.tuning.experiment import Experiment, parse_experiment
from aufleet.tuning.ledger import TrialRecord

EXPERIMENT = """
name: small
task: au
dataset: faces/1
models: [algrnet]
fixed: {epochs: 3}
search: {learning_rate: {choice: [0.1, 0.2]}}
"""


class Heard:
    """A listener that remembers what it heard."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def __getattr__(self, name: str):
        def hear(*arguments, **named):
            self.events.append((name, arguments[-1] if arguments else named))

        return hear

    def of(self, name: str) -> list:
        return [what for event, what in self.events if event == name]


@pytest.fixture
def experiment() -> Experiment:
    return parse_experiment(EXPERIMENT, source="small.yaml")


@pytest.fixture
def root(tmp_path) -> Store:
    return open_store(str(tmp_path / "root"))


@pytest.fixture
def heard() -> Heard:
    return Heard()


def result_of(score: float) -> TrialResult:
    return TrialResult(
        best_epoch=2,
        score=score,
        loss=1.0 - score,
        per_label={"AU1": score},
        constant={"AU1": 0.3},
        checkpoint="attempt-001/checkpoint-0002",
        epochs=(),
        seconds=1.5,
    )


def record_of(config_id: str = "a" * 10, *, fold: int = 1, **changes) -> TrialRecord:
    facts = {
        "model": "algrnet",
        "config_id": config_id,
        "fold": fold,
        "attempt": 1,
        "status": "finished",
        "point": {},
        "settings": {},
        "score": 0.5,
        "loss": 0.5,
        "best_epoch": 2,
        "per_label": {"AU1": 0.5},
        "constant": {"AU1": 0.3},
        "ended": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return TrialRecord.model_validate(facts | changes)
