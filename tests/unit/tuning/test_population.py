"""Population based training: who goes on from whom."""

import re

import pytest

from aufleet.errors import ConfigError
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.ledger import ConfigurationRecord
from aufleet.tuning.plan import plan_of
from aufleet.tuning.population import Population, lineage

FILE = """
name: pop
task: au
dataset: faces/1
models: [algrnet, resnet18]
folds: [1, 2, 3]
fixed: {epochs: 6, seed: 5}
search: {learning_rate: {log_uniform: [0.001, 0.1]}, adaptive: {choice: [true, false]}}
sampler: {kind: random, configurations: 4, seed: 1}
early_stopping: {kind: pbt, interval_epochs: 2}
"""


@pytest.fixture
def experiment():
    return parse_experiment(FILE, source="pop.yaml")


def generations(experiment, root, *, score, known=()):
    """Play a whole population; returns configurations in the order they were handed out."""
    source, found = Population(experiment, root=root, known=known), []
    while True:
        group = list(iter(source.next_configuration, None))
        if not group:
            break
        found += group
        for one in group:
            source.observe(one, score(one))
    assert not source.waits
    return found


def by_rate(configuration):
    return configuration.point["learning_rate"]


def test_every_generation_goes_on_from_the_same_fold_of_the_same_family(experiment, root):
    found = generations(experiment, root, score=by_rate)
    ids = {one.config_id: one for one in found}
    assert len(ids) == len(found) == 2 * 4 * 3
    for one in found:
        for trial in one.trials:
            start = trial.initialize_from
            if start is None:
                assert one.index < 4
                continue
            parent = ids[re.search(r"/trials/\w+/(\w+)/fold\{fold\}$", start.uri)[1]]
            assert parent.model == one.model == trial.model
            assert parent.index // 4 == one.index // 4 - 1, "of the generation before"
            assert lineage(one.point) == parent.config_id
            same = [trial.options, trial.width]
            assert same == [parent.trials[0].options, parent.trials[0].width], "weights fit"
        assert {trial.epochs for trial in one.trials} == {2}
        assert {trial.schedule for trial in one.trials} == {"constant"}


def test_the_worst_take_over_from_the_best_and_the_others_go_on(experiment, root):
    found = [one for one in generations(experiment, root, score=by_rate) if one.model == "algrnet"]
    first, second = found[:4], found[4:8]
    ranked = sorted(first, key=by_rate)
    worst, best = ranked[0], ranked[-1]
    for before, after in zip(first, second, strict=True):
        donor = best if before is worst else before
        assert lineage(after.point) == donor.config_id
        ratio = after.point["learning_rate"] / donor.point["learning_rate"]
        expected = (1.2, 1 / 1.2) if before is worst else (1.0,)
        capped = after.point["learning_rate"] == 0.1
        assert capped or any(ratio == pytest.approx(one) for one in expected)


def test_a_population_is_the_same_again_and_is_continued(experiment, root):
    first = generations(experiment, root, score=by_rate)
    known = [
        ConfigurationRecord(
            model=one.model, index=one.index, point=one.point, config_id=one.config_id
        )
        for one in first
    ]
    again = generations(experiment, root, score=by_rate, known=known)
    assert [one.config_id for one in again] == [one.config_id for one in first]
    with pytest.raises(ConfigError, match="is not the one that the ledger names"):
        generations(experiment, root, score=lambda one: -by_rate(one), known=known)


def test_members_that_failed_are_replaced_and_a_family_of_which_all_failed_ends(experiment, root):
    found = generations(
        experiment, root, score=lambda one: None if one.model == "resnet18" else by_rate(one)
    )
    assert len([one for one in found if one.model == "resnet18"]) == 4
    assert len([one for one in found if one.model == "algrnet"]) == 12


def test_the_plan_counts_generations_and_refuses_halves_of_them(experiment, root):
    assert plan_of(experiment, root=root).trials == 2 * 4 * 3 * 3
    odd = experiment.model_copy(update={"fixed": {"epochs": 5}})
    with pytest.raises(ConfigError, match="5 epochs cannot be split into generations of 2"):
        plan_of(odd, root=root)
