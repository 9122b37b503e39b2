import numpy as np

from aufleet.data.labels import count_labels

NO_GRADES = np.full(2000, 9)


def shapes(template: np.ndarray, count: int = 2000) -> np.ndarray:
    return np.repeat(template[None], count, axis=0)


def random_units(rng: np.random.Generator) -> np.ndarray:
    first = rng.random(2000) < 0.3
    second = np.where(first, rng.random(2000) < 0.8, rng.random(2000) < 0.1)
    return np.stack([first, second, rng.random(2000) < 0.5], axis=1).astype(np.int64)


def test_agreement_holds_the_identity_of_covariances(template) -> None:
    units = random_units(np.random.default_rng(0))

    counted = count_labels(units=units, grades=NO_GRADES, landmarks=shapes(template))

    relation = 2 * counted.agreement - 1
    variances = counted.positive_rates * (1 - counted.positive_rates)
    np.testing.assert_allclose(np.diag(relation), 1)
    np.testing.assert_allclose(relation * variances, (relation * variances).T, atol=1e-12)
    np.testing.assert_allclose(relation * variances, np.cov(units.T, bias=True), atol=1e-12)


def test_labels_not_coded_are_left_out_in_pairs(template) -> None:
    rng = np.random.default_rng(1)
    units = random_units(rng)
    units[rng.random(units.shape) < 0.2] = 9

    counted = count_labels(units=units, grades=NO_GRADES, landmarks=shapes(template))

    both = units[(units[:, 0] != 9) & (units[:, 1] != 9)]
    alone = count_labels(units=both, grades=NO_GRADES[: len(both)], landmarks=shapes(template))
    assert counted.agreement[0, 1] == alone.agreement[0, 1]
    assert counted.agreement[1, 0] == alone.agreement[1, 0]
    assert counted.positive_rates[2] == (units[:, 2] == 1).sum() / (units[:, 2] != 9).sum()


def test_what_never_varies_is_related_to_nothing(template) -> None:
    units = np.array([[0, 1, 9]] * 4)

    counted = count_labels(units=units, grades=np.full(4, 9), landmarks=shapes(template, 4))

    np.testing.assert_array_equal(counted.positive_rates, [0, 1, 0])
    np.testing.assert_array_equal(counted.agreement, np.full((3, 3), 0.5))
    np.testing.assert_array_equal(counted.grade_rates, np.zeros(4))


def test_grades_are_counted_among_the_graded(template) -> None:
    counted = count_labels(
        units=np.zeros((5, 0), np.int64),
        grades=np.array([0, 0, 3, 9, 2]),
        landmarks=shapes(template, 5),
    )

    np.testing.assert_array_equal(counted.grade_rates, [0.5, 0, 0.25, 0.25])


def test_the_mean_shape_lies_in_the_centre_crop(template) -> None:
    moved = np.stack([template + 1, template + 3])

    counted = count_labels(units=np.zeros((2, 1), int), grades=NO_GRADES[:2], landmarks=moved)

    np.testing.assert_allclose(counted.mean_shape, template + 2 - 12)
