import numpy as np
import pytest

from aufleet.training.metrics import landmark_errors, score_grades, score_units


def _units(probabilities: list, labels: list):
    found = np.array(probabilities, dtype=np.float32)
    logits = np.log(found) - np.log1p(-found)
    units = (1, 12)[: found.shape[1]]
    return score_units(
        logits=logits, probabilities=found, labels=np.array(labels, dtype=np.int64), units=units
    )


def test_f1_is_taken_per_unit_at_one_half_and_averaged() -> None:
    score = _units(
        [[0.9, 0.2], [0.5, 0.8], [0.1, 0.9], [0.7, 0.4]], [[1, 0], [1, 1], [1, 0], [0, 1]]
    )
    assert score.per_label["AU1"] == pytest.approx(2 / 3)  # 2 found of 3, 1 false alarm
    assert score.per_label["AU12"] == pytest.approx(1 / 2)
    assert score.macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert score.counts == {"AU1": (2, 1, 1), "AU12": (1, 1, 1)}


def test_frames_that_are_not_coded_count_nowhere() -> None:
    coded = _units([[0.9], [0.2], [0.8]], [[1], [0], [0]])
    more = _units([[0.9], [0.2], [0.8], [0.99], [0.01]], [[1], [0], [0], [9], [9]])
    assert more == coded


def test_accuracy_and_auc_are_taken_per_unit_over_its_coded_frames() -> None:
    score = _units(
        [[0.9, 0.2], [0.6, 0.8], [0.1, 0.9], [0.7, 0.4]], [[1, 0], [9, 1], [0, 9], [0, 0]]
    )
    assert score.accuracy_per_label == {"AU1": pytest.approx(2 / 3), "AU12": 1.0}
    assert score.accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert score.auc == {"AU1": 1.0, "AU12": 1.0}
    # Ranked by log-odds: probabilities that round to 1 still have an order.
    sure = score_units(
        logits=np.array([[40.0], [50.0]]),
        probabilities=np.array([[1.0], [1.0]], dtype=np.float32),
        labels=np.array([[0], [1]]),
        units=[1],
    )
    assert sure.auc == {"AU1": 1.0}


def test_a_label_that_never_varies_has_no_auc() -> None:
    assert _units([[0.9], [0.2]], [[1], [1]]).auc == {}


def test_f1_is_zero_where_it_is_undefined() -> None:
    score = _units([[0.1, 0.1], [0.2, 0.2]], [[0, 9], [0, 9]])
    assert score.per_label == {"AU1": 0.0, "AU12": 0.0}
    assert score.constant == {"AU1": 0.0, "AU12": 0.0}


def test_the_best_constant_answer_of_a_unit_is_always_or_never() -> None:
    score = _units([[0.1]] * 10, [[1]] * 4 + [[0]] * 6)
    assert score.constant["AU1"] == pytest.approx(2 * 0.4 / 1.4)


def test_the_loss_is_the_mean_negative_log_likelihood() -> None:
    score = _units([[0.8], [0.3]], [[1], [0]])
    assert score.loss == pytest.approx(-(np.log(0.8) + np.log(0.7)) / 2, rel=1e-5)


def test_grades_are_scored_one_against_the_rest() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 3, 9])
    found = np.array([0, 0, 1, 1, 1, 3, 3, 2])
    logits = 20.0 * np.eye(4)[found]
    score = score_grades(logits=logits, labels=labels)
    assert score.per_label == {
        "normal": pytest.approx(4 / 5),
        "low": pytest.approx(4 / 5),
        "medium": 0.0,
        "high": pytest.approx(2 / 3),
    }
    assert score.macro_f1 == pytest.approx((0.8 + 0.8 + 0 + 2 / 3) / 4)
    assert score.counts["normal"] == (2, 0, 1)
    assert score.accuracy == pytest.approx(5 / 7)
    assert score.accuracy_per_label["normal"] == pytest.approx(6 / 7)
    assert score.confusion == ((2, 1, 0, 0), (0, 2, 0, 0), (0, 0, 0, 1), (0, 0, 0, 1))
    # By hand: weighted disagreement 2 over the 13 expected by chance for these margins.
    weights = np.square(np.subtract.outer(np.arange(4), np.arange(4)))
    table = np.zeros((4, 4))
    np.add.at(table, (labels[:7], found[:7]), 1)
    chance = np.outer(table.sum(1), table.sum(0)) / 7
    assert score.kappa == pytest.approx(1 - (weights * table).sum() / (weights * chance).sum())


def test_the_best_constant_answer_of_the_grades_is_one_grade() -> None:
    score = score_grades(logits=np.zeros((10, 4)), labels=np.array([0] * 2 + [1] * 5 + [3] * 3))
    assert score.constant == {"normal": 0, "low": pytest.approx(2 / 3), "medium": 0, "high": 0}
    assert score.loss == pytest.approx(np.log(4))


def test_kappa_of_one_grade_alone_is_zero() -> None:
    score = score_grades(logits=np.eye(4)[[1, 1]], labels=np.array([1, 1]))
    assert (score.kappa, score.accuracy) == (0.0, 1.0)


def test_no_graded_frame_gives_zeros() -> None:
    score = score_grades(logits=np.zeros((2, 4)), labels=np.array([9, 9]))
    assert (score.macro_f1, score.loss, score.accuracy, score.kappa) == (0, 0, 0, 0)
    assert score.auc == {}
    assert score.confusion == ((0,) * 4,) * 4


def test_landmark_error_is_in_percent_of_the_inter_ocular_distance() -> None:
    truth = np.zeros((2, 49, 2))
    truth[:, 25:31, 0] = 50.0  # the right eye, 50 px from the left one
    predicted = truth + np.array([3.0, 4.0])
    predicted[1] = truth[1]
    assert landmark_errors(predicted, truth) == pytest.approx([10.0, 0.0])


def test_the_mean_over_test_parts_is_not_the_f1_of_all_frames() -> None:
    parts = [([[0.9], [0.9], [0.1]], [[1], [0], [1]]), ([[0.9]], [[1]])]
    mean = sum(_units(*part).macro_f1 for part in parts) / 2
    pooled = _units(*(found + more for found, more in zip(*parts, strict=True)))
    assert mean == pytest.approx((1 / 2 + 1) / 2)  # what the papers report
    assert pooled.macro_f1 == pytest.approx(2 / 3)
