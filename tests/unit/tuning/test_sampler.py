"""Samplers draw the same points for the same seed, and go on after a restart."""

import pytest

from aufleet.tuning.experiment import Range
from aufleet.tuning.sampler import OptunaPoints, draw_point, grid_points

SEARCH = {
    "learning_rate": Range(log_uniform=(0.001, 0.1)),
    "momentum": Range(uniform=(0.8, 0.9)),
    "adaptive": Range(choice=(True, False)),
}


def test_a_grid_is_every_combination_and_the_last_key_changes_fastest():
    search = {"a": Range(choice=(1, 2)), "b": Range(choice=("x", "y"))}
    assert grid_points(search) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]


def test_a_grid_of_nothing_is_one_point():
    assert grid_points({}) == [{}]


def test_draws_depend_on_seed_and_index_alone():
    first = [draw_point(SEARCH, seed=3, index=index) for index in range(5)]
    assert first == [draw_point(SEARCH, seed=3, index=index) for index in range(5)]
    assert first != [draw_point(SEARCH, seed=4, index=index) for index in range(5)]


def test_draws_stay_in_their_ranges():
    for index in range(200):
        point = draw_point(SEARCH, seed=0, index=index)
        assert 0.001 <= point["learning_rate"] <= 0.1
        assert 0.8 <= point["momentum"] <= 0.9
        assert point["adaptive"] in (True, False)


def optuna_run(num_points, *, stop_at=None):
    """Return the points of a run; after `stop_at` points a new sampler goes on from records."""
    sampler, points = OptunaPoints(SEARCH, num_points=num_points, seed=1), []
    for index in range(num_points):
        if index == stop_at:
            sampler = OptunaPoints(SEARCH, num_points=num_points, seed=1)
            for known, point in enumerate(points):
                sampler.recall(known, point)
                sampler.observe(known, -abs(point["momentum"] - 0.87))
        points.append(sampler.propose(index))
        sampler.observe(index, -abs(points[-1]["momentum"] - 0.87))
    return points


def test_optuna_learns_where_scores_are_good():
    late = [point["momentum"] for point in optuna_run(40)[20:]]
    assert sum(abs(value - 0.87) for value in late) / 20 < 0.015


def test_optuna_goes_on_from_recalled_points():
    points = optuna_run(30, stop_at=15)
    assert points[:15] == optuna_run(15)
    late = [point["momentum"] for point in points[20:]]
    assert sum(abs(value - 0.87) for value in late) / 10 < 0.02


def test_optuna_hears_of_failed_points():
    sampler = OptunaPoints(SEARCH, num_points=2, seed=0)
    sampler.propose(0)
    sampler.observe(0, None)
    assert set(sampler.propose(1)) == set(SEARCH)


@pytest.mark.parametrize("choices", [([1, 2], [3, 4]), ("a", None), (True, 1)])
def test_optuna_chooses_among_any_values(choices):
    sampler = OptunaPoints({"option": Range(choice=choices)}, num_points=5, seed=0)
    assert all(sampler.propose(index)["option"] in choices for index in range(5))
