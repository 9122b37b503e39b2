"""Searches that end configurations early, on a real Ray: ASHA, budgets, populations, leases."""

from collections import Counter

import pytest
from searching.toys import Ear, toy_test, toy_trial

from aufleet.cli.ray_session import ray_session
from aufleet.errors import ConfigError
from aufleet.storage import open_store
from aufleet.tuning.experiment import parse_experiment
from aufleet.tuning.lease import hold
from aufleet.tuning.ledger import Ledger
from aufleet.tuning.search import num_fitting, run_search

pytestmark = pytest.mark.ray

EXPERIMENT = """
name: toy
task: au
dataset: s3://nowhere/faces/1
models: [algrnet]
fixed: {epochs: 6}
search: {learning_rate: {choice: [0.6, 0.1, 0.2, 0.5]}}
"""
ASHA = (
    EXPERIMENT
    + "early_stopping: {kind: asha, grace_epochs: 2, caution: 0}\n"
    + "resources: {cpus_per_rank: 2}\n"  # one trial at a time: everything in a known order
)
PBT = """
name: toy
task: au
dataset: s3://nowhere/faces/1
models: [algrnet, resnet18]
folds: [1, 2]
fixed: {epochs: 2}
search: {learning_rate: {uniform: [0.1, 0.9]}}
sampler: {kind: random, configurations: 3, seed: 0}
early_stopping: {kind: pbt, interval_epochs: 1}
"""


@pytest.fixture(scope="module", autouse=True)
def ray():
    with ray_session(num_cpus=2):
        yield


@pytest.fixture
def root(tmp_path):
    return open_store(str(tmp_path))


def search(root, text, *, listeners=(), **settings):
    return run_search(
        parse_experiment(text, source="toy.yaml"),
        root=root,
        listeners=listeners,
        run_trial=toy_trial(**settings),
        score_test=toy_test(),
    )


def epochs_of(root) -> Counter[str]:
    """Return trial -> epochs that it trained."""
    keys = root.child("experiments/toy/trials").keys("")
    return Counter(key.rpartition("/")[0] for key in keys if "epoch-" in key)


def test_asha_stops_whole_configurations_and_condemned_folds_never_start(root):
    ear = Ear()
    board = search(root, ASHA, listeners=[ear])

    status = {row.hyperparameters["learning_rate"]: row.status for row in board.rows}
    assert status == {0.6: "finished", 0.1: "stopped", 0.2: "stopped", 0.5: "stopped"}
    rate_of = {row.config_id: row.hyperparameters["learning_rate"] for row in board.rows}
    trained = {
        (rate_of[name.split("/")[1]], name[-1]): epochs for name, epochs in epochs_of(root).items()
    }
    # Three run all folds to the first rung; the better half goes on, the leader whole.
    assert trained == {
        **{(0.6, fold): 6 for fold in "123"}, (0.5, "1"): 6,
        **{(rate, fold): 2 for rate in (0.1, 0.2) for fold in "123"},
    }  # fmt: skip
    stops = Ledger(root.child("experiments/toy")).stops()
    assert {rate_of[one.config_id] for one in stops} == {0.1, 0.2, 0.5}
    assert [one.rule for one in ear.of("configuration_stopped")] == ["asha"] * 3
    assert search(root, ASHA).to_plain() == board.to_plain()
    assert sum(epochs_of(root).values()) == 36, "what was given up stays so"


def test_a_budget_ends_a_search_cleanly_and_a_larger_one_continues_it(root):
    board = search(root, EXPERIMENT + "budget: {trials: 4}\n")
    assert board.ended_early == "the budget of 4 trials"
    assert len(epochs_of(root)) == 4
    assert [row.status for row in board.rows] == ["finished", "incomplete"]
    # A time that is over at once: what was begun is paused, or not begun at all.
    board = search(root, EXPERIMENT + "budget: {hours: 0.0000001}\n")
    assert board.ended_early.startswith("the budget of 1e-07 hours")
    assert len(epochs_of(root)) == 4
    board = search(root, EXPERIMENT)
    assert [row.status for row in board.rows] == ["finished"] * 4
    assert set(epochs_of(root).values()) == {6}


def test_no_weight_crosses_folds_or_families_in_a_population(root):
    """The toy trials themselves refuse weights of another fold or family."""
    board = search(root, PBT)
    assert len(board.rows) == 2 * 3 * 2
    assert {row.status for row in board.rows} == {"finished"}
    starts = [
        one
        for one in Ledger(root.child("experiments/toy")).trials()
        if "initialize_from" in one.point
    ]
    assert len(starts) == 2 * 3 * 2
    for one in starts:
        uri = one.point["initialize_from"]["uri"]
        assert f"/trials/{one.model}/" in uri
        assert uri.endswith("/fold{fold}")
    assert board.winner.model in {"algrnet", "resnet18"}
    assert search(root, PBT).to_plain() == board.to_plain()


def test_models_with_different_numbers_of_ranks_end_in_one_search(root):
    text = EXPERIMENT.replace("[algrnet]", "[algrnet, resnet18]").replace(
        "[0.6, 0.1, 0.2, 0.5]", "[0.6]"
    )
    text = text.replace("epochs: 6", "epochs: 1")
    text += "per_model: {resnet18: {ranks: 2}}\nfolds: [1, 2]\n"
    board = search(root, text)
    assert [row.status for row in board.rows] == ["finished", "finished"]
    ranks = Counter(one.settings["ranks"] for one in Ledger(root.child("experiments/toy")).trials())
    assert ranks == {1: 2, 2: 2}
    assert num_fitting(parse_experiment(text, source="toy.yaml")) == 2


def test_a_second_driver_is_told_who_runs_the_experiment(root, monkeypatch):
    monkeypatch.setenv("AUFLEET_LEASE_S", "1")
    lease = hold(root.child("experiments/toy"))
    with pytest.raises(ConfigError, match="runs the experiment at"):
        search(root, EXPERIMENT)
    lease.release()
