"""Runs in a real MLflow on SQLite."""

import logging

import pytest

from aufleet.registry.mlflow_session import open_mlflow
from aufleet.training.results import EpochReport
from aufleet.tuning.grid import ConfigurationSource
from aufleet.tuning.tracking import MlflowTracker

from .conftest import record_of


@pytest.fixture
def trials(experiment, root):
    return ConfigurationSource(experiment, root=root).next_configuration().trials[:2]


def report(epoch):
    return EpochReport(
        epoch=epoch,
        score=epoch / 10,
        loss=1.0,
        train_loss=1.0,
        per_label={"AU1": epoch / 10},
        seconds=1.0,
        frames_per_s=10.0,
        learning_rate=0.1,
    )


def play(trials, *, uri, root):
    tracker = MlflowTracker("small", store=root.child("experiments/small"), uri=uri)
    tracker.search_started(num_trials=2, ended=[])
    for trial in trials:
        tracker.trial_started(trial)
        for epoch in (1, 2):
            tracker.epoch_ended(trial, report(epoch))
        tracker.trial_ended(trial, record_of(trial.config_id, fold=trial.fold))
    tracker.search_ended()


def test_folds_lie_below_their_configuration_with_their_curves(trials, root, home):
    uri = f"sqlite:///{home.parent}/mlflow.db"
    play(trials, uri=uri, root=root)
    play(trials, uri=uri, root=root)  # a continued search finds its runs again

    client = open_mlflow(uri)
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run not in parents]
    assert (len(parents), len(children)) == (1, 2)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert children[0].data.params["learning_rate"] == "0.1"
    curve = client.get_metric_history(children[0].info.run_id, "validation_f1")
    assert sorted({(point.step, point.value) for point in curve}) == [(1, 0.1), (2, 0.2)]
    assert (
        root.uri_of("experiments/small/trials/algrnet") in children[0].data.tags["aufleet.folder"]
    )


def test_a_search_goes_on_without_mlflow(trials, root, home, caplog):
    broken = home.parent / "mlflow.db"
    broken.write_text("this is no database " * 100)
    with caplog.at_level(logging.WARNING):
        play(trials, uri=f"sqlite:///{broken}", root=root)
    assert [one for one in caplog.messages if "MLflow is not written any more" in one]
