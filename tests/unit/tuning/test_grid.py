"""From an experiment to its trials."""

import pytest

from aufleet.errors import ConfigError
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.grid import ConfigurationSource
from aufleet.tuning.ledger import ConfigurationRecord
from aufleet.tuning.plan import plan_of

FAMILIES = """
name: families
task: au
dataset: s3://bucket/faces/1
models: [algrnet, lgrnet]
folds: [1, 3]
fixed: {epochs: 3, batch: 8}
search: {learning_rate: {choice: [0.1, 0.2]}, adaptive: {choice: [true, false]}}
resources: {ranks: 2, cpus_per_rank: 3}
"""


def all_of(source):
    return list(iter(source.next_configuration, None))


def test_models_take_turns_and_each_configuration_has_every_fold(root):
    experiment = parse_experiment(
        FAMILIES.replace(", adaptive: {choice: [true, false]}", ""), source="x"
    )
    found = all_of(ConfigurationSource(experiment, root=root))
    assert [(one.model, one.point["learning_rate"]) for one in found] == [
        ("algrnet", 0.1),
        ("lgrnet", 0.1),
        ("algrnet", 0.2),
        ("lgrnet", 0.2),
    ]
    assert [trial.fold for trial in found[0].trials] == [1, 3]
    assert len({trial.config_id for trial in found[0].trials}) == 1


def test_settings_reach_every_trial(experiment, root):
    trial = all_of(ConfigurationSource(experiment, root=root))[0].trials[0]
    assert (trial.epochs, trial.learning_rate, trial.threads) == (3, 0.1, 1)
    assert trial.dataset == root.uri_of("datasets/faces/1")


def test_ranks_and_threads_come_from_the_resources(root):
    experiment = parse_experiment(FAMILIES, source="x")
    trial = all_of(ConfigurationSource(experiment, root=root))[0].trials[0]
    assert (trial.ranks, trial.threads) == (2, 3)
    assert trial.dataset == "s3://bucket/faces/1"


def test_known_points_are_handed_out_again(experiment, root):
    known = ConfigurationRecord(
        model="algrnet", index=0, point={"learning_rate": 0.5}, config_id="0" * 10
    )
    drawn = experiment.model_copy(
        update={
            "sampler": experiment.sampler.model_copy(update={"kind": "random", "configurations": 2})
        }
    )
    first, second = all_of(ConfigurationSource(drawn, root=root, known=[known]))
    assert first.point == {"learning_rate": 0.5}
    assert second.point != first.point


def test_a_plan_counts_configurations_folds_and_trials(experiment, root):
    plan = plan_of(experiment, root=root)
    assert (plan.configurations, plan.folds, plan.trials) == (2, (1, 2, 3), 6)
    assert plan.resources_per_trial == {"ranks": 1, "cpus": 1, "gpus": 0}


def test_a_value_that_no_trial_takes_is_found_before_anything_runs(experiment, root):
    wrong = experiment.model_copy(update={"fixed": {"epochs": -1}})
    with pytest.raises(ConfigError, match="epochs"):
        plan_of(wrong, root=root)
