"""The ledger: written once, read back whole."""

import pytest

from aufleet.errors import AlreadyExistsError, ConfigError
from aufleet.storage import Store
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


class _LosingAnswers(Store):
    """A store that does what it is asked, and whose answer gets lost once too often."""

    def write_new(self, key: str, data: bytes) -> None:
        super().write_new(key, data)
        raise AlreadyExistsError(f"{key} is there already")


def test_an_answer_that_got_lost_is_no_second_writer(root):
    ledger = Ledger(_LosingAnswers(uri=root.child("experiments/small").uri))
    ledger.add_trial(record_of())
    with pytest.raises(AlreadyExistsError):
        ledger.add_trial(record_of(score=0.9))
    assert [one.score for one in Ledger(root.child("experiments/small")).trials()] == [0.5]


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
