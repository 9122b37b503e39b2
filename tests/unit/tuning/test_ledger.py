"""The ledger: written once, read back whole."""

import pytest

from aufleet.errors import AlreadyExistsError, ConfigError
from aufleet.tuning.ledger import ConfigurationRecord, Ledger, TestRecord

from .conftest import record_of


@pytest.fixture
def ledger(root) -> Ledger:
    return Ledger(root.child("experiments/small"))


def test_records_read_back_as_they_were_written(ledger):
    trials = [record_of(fold=1), record_of(fold=2, status="failed", score=None, reason="why")]
    test = TestRecord(
        model="algrnet",
        config_id="a" * 10,
        fold=1,
        score=0.4,
        per_label={},
        constant={},
        num_frames=3,
    )
    for one in trials:
        ledger.add_trial(one)
    ledger.add_test(test)
    assert ledger.trials() == trials
    assert ledger.tests() == [test]


def test_attempts_are_read_in_their_order(ledger):
    for attempt in (2, 1, 10):
        ledger.add_trial(record_of(attempt=attempt))
    assert [one.attempt for one in ledger.trials()] == [1, 2, 10]


def test_nothing_is_written_twice(ledger):
    ledger.add_trial(record_of())
    with pytest.raises(AlreadyExistsError):
        ledger.add_trial(record_of(score=0.9))


def test_a_point_that_is_known_stays_as_it_is(ledger):
    for rate in (0.1, 0.2):
        ledger.add_configuration(
            ConfigurationRecord(model="algrnet", index=0, point={"r": rate}, config_id="a" * 10)
        )
    assert [one.point for one in ledger.configurations()] == [{"r": 0.1}]


def test_an_experiment_is_continued_with_more_configurations_only(ledger, experiment):
    sampler = experiment.sampler.model_copy(update={"kind": "random", "configurations": 2})
    more = sampler.model_copy(update={"configurations": 8})
    ledger.open_experiment(experiment.model_copy(update={"sampler": sampler}))
    ledger.open_experiment(experiment.model_copy(update={"sampler": more}))
    with pytest.raises(ConfigError, match="another value of 'fixed'"):
        ledger.open_experiment(experiment.model_copy(update={"sampler": more, "fixed": {}}))


def test_an_experiment_that_was_never_started_is_one_sentence(ledger):
    with pytest.raises(ConfigError, match="there is no experiment at"):
        ledger.describe_experiment()
