"""Configurations are ranked by their mean over all folds."""

import pytest

from aufleet.tuning.leaderboard import rank
from aufleet.tuning.ledger import TestRecord

from .conftest import record_of

BETTER, WORSE = "b" * 10, "c" * 10


def whole(config_id, scores, **changes):
    return [
        record_of(config_id, fold=fold, score=score, **changes)
        for fold, score in enumerate(scores, start=1)
    ]


def test_the_best_mean_is_first_not_the_luckiest_fold():
    trials = whole(WORSE, [0.9, 0.2, 0.2]) + whole(BETTER, [0.5, 0.5, 0.5])
    board = rank(trials, experiment="e", folds=[1, 2, 3])
    assert [row.config_id for row in board.rows] == [BETTER, WORSE]
    assert board.winner is board.rows[0]


def test_equal_means_are_decided_by_the_loss():
    trials = whole(WORSE, [0.5], loss=0.7) + whole(BETTER, [0.5], loss=0.6)
    assert rank(trials, experiment="e", folds=[1]).rows[0].config_id == BETTER


def test_a_configuration_without_all_its_folds_never_wins():
    trials = whole(WORSE, [0.9, 0.9]) + whole(BETTER, [0.5, 0.5, 0.5])
    board = rank(trials, experiment="e", folds=[1, 2, 3])
    assert [(row.config_id, row.status) for row in board.rows] == [
        (BETTER, "finished"),
        (WORSE, "incomplete"),
    ]


def test_a_failed_fold_fails_the_configuration_with_its_reason():
    trials = [
        *whole(WORSE, [0.9, 0.9]),
        record_of(WORSE, fold=3, status="failed", score=None, reason="NaN"),
    ]
    row = rank(trials, experiment="e", folds=[1, 2, 3]).rows[0]
    assert (row.status, row.reason) == ("failed", "NaN")
    assert rank(trials, experiment="e", folds=[1, 2, 3]).winner is None


def test_a_later_attempt_counts_for_its_fold():
    trials = [
        record_of(BETTER, attempt=1, status="crashed", score=None, reason="why"),
        record_of(BETTER, attempt=2, score=0.8),
    ]
    row = rank(trials, experiment="e", folds=[1]).rows[0]
    assert (row.status, row.validation.mean) == ("finished", 0.8)


def test_each_model_has_a_winner_of_its_own():
    trials = [
        *whole(BETTER, [0.5]),
        *whole(WORSE, [0.4]),
        *whole("d" * 10, [0.3], model="lgrnet"),
        *whole("e" * 10, [0.2], model="lgrnet"),
    ]
    board = rank(trials, experiment="e", folds=[1])
    assert board.winners == {BETTER, "d" * 10}
    assert board.winner.config_id == BETTER


def test_an_experiment_without_trials_has_no_winner():
    assert rank([], experiment="e", folds=[1]).winner is None


def test_the_plain_form_has_the_frozen_keys():
    test = TestRecord(
        model="algrnet",
        config_id=BETTER,
        fold=1,
        score=0.45,
        per_label={"AU1": 0.45},
        constant={"AU1": 0.25},
        counts={"AU1": (3, 1, 0)},
        num_frames=9,
    )
    trials = whole(BETTER, [0.5, 0.7], point={"learning_rate": 0.1})
    plain = rank(trials, tests=[test], experiment="e", folds=[1, 2]).to_plain()[0]
    frozen = "model config_id hyperparameters folds mean std constant_baseline status".split()
    assert {key: plain[key] for key in frozen} == {
        "model": "algrnet",
        "config_id": BETTER,
        "hyperparameters": {"learning_rate": 0.1},
        "folds": {"1": 0.5, "2": 0.7},
        "mean": pytest.approx(0.6),
        "std": pytest.approx(0.1414, abs=1e-4),
        "constant_baseline": pytest.approx(0.3),
        "status": "finished",
    }
    assert plain["per_label"] == {"AU1": {"f1": 0.5, "constant": pytest.approx(0.3)}}
    assert plain["test"]["folds"] == {"1": 0.45}
    assert plain["test"]["pooled_f1"] == pytest.approx(6 / 7)


def test_pooled_f1_counts_the_frames_of_all_test_parts_together():
    # Of AU1 the parts have F1 1, 0.5 and 0; together 2 of 4 answers are right.
    counts = [(1, 0, 0), (1, 1, 1), (0, 0, 1)]
    tests = [
        TestRecord(
            model="algrnet",
            config_id=BETTER,
            fold=fold,
            score=0.5,
            per_label={"AU1": 0.5},
            constant={"AU1": 0.25},
            counts={"AU1": one},
            num_frames=9,
        )
        for fold, one in enumerate(counts, start=1)
    ]
    row = rank(whole(BETTER, [0.5] * 3), tests=tests, experiment="e", folds=[1, 2, 3]).rows[0]
    assert row.test
    assert row.test.pooled == {"AU1": pytest.approx(4 / 7)}
    assert row.test.pooled_f1 == pytest.approx(4 / 7)
    assert row.validation
    assert not row.validation.pooled
