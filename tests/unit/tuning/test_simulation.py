"""Searches over known curves: the real searcher and scheduler."""

import json

import pytest

from aufleet.errors import ConfigError
from aufleet.tuning.curves import Landscape, make_up, read_curves, record, write_curves
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.limits import Budget
from aufleet.tuning.meter import Meter
from aufleet.tuning.runs import limits_of
from aufleet.tuning.simulation import simulate

from .conftest import record_of

FILE = """
name: simulated
task: au
dataset: none/1
models: [resnet18]
"""
LANDSCAPE = Landscape(families={"one": 0.6}, configurations=10, epochs=9)


def limits(kind="asha", **settings):
    text = FILE + f"early_stopping: {json.dumps({'kind': kind, **settings})}\n"
    return limits_of(parse_experiment(text, source="s"), meter=Meter(Budget()))


def test_without_early_stopping_everything_is_trained_and_the_best_is_found():
    curves = make_up(LANDSCAPE, seed=0)
    outcome = simulate(curves, limits=limits("none"))
    best = max(one.score for one in curves.configurations)
    assert outcome.epochs == curves.grid_epochs == 10 * 3 * 9
    assert outcome.best == best
    assert outcome.epochs_to(best) <= outcome.epochs
    assert outcome.epochs_to(best + 1) is None


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_giving_up_saves_epochs_and_is_the_same_again(kind):
    curves = make_up(LANDSCAPE, seed=1)
    outcome = simulate(curves, limits=limits(kind, grace_epochs=2), slots=2, seed=3)
    assert outcome.stopped > 0
    assert outcome.epochs < 0.8 * curves.grid_epochs
    assert simulate(curves, limits=limits(kind, grace_epochs=2), slots=2, seed=3) == outcome


def test_curves_are_read_as_they_were_written(tmp_path):
    curves = make_up(LANDSCAPE, seed=2)
    write_curves(curves, tmp_path / "c.json")
    assert read_curves(tmp_path / "c.json") == curves


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "c.json"),
        ('{"format": "other", "folds": [1], "configurations": []}', "configurations"),
        (
            '{"folds": [1, 2], "configurations": [{"model": "a", "curves": {"1": [0.5]}}]}',
            "configuration 0 has not exactly the folds of the file",
        ),
        (
            '{"folds": [1], "configurations": [{"model": "a", "curves": {"1": []}}]}',
            "all curves must have the same number of epochs",
        ),
    ],
)
def test_a_file_that_holds_no_curves_is_one_sentence(tmp_path, content, sentence):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(ConfigError, match=sentence):
        read_curves(tmp_path / "c.json")


def test_an_experiment_s_own_curves_can_be_recorded():
    curve = [{"epoch": e, "score": e / 10, "loss": 1, "train_loss": 1} for e in (1, 2)]
    trials = [record_of(fold=fold, curve=curve) for fold in (1, 2, 3)]
    trials.append(record_of("b" * 10, fold=1, curve=curve))
    curves = record(trials, folds=(1, 2, 3))
    assert [one.curves for one in curves.configurations] == [dict.fromkeys((1, 2, 3), (0.1, 0.2))]
    with pytest.raises(ConfigError, match="no configuration has whole curves"):
        record(trials[:1], folds=(1, 2, 3))
