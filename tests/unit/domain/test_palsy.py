import pytest

from aufleet.domain.action_units import parse_unit
from aufleet.domain.palsy import Grade, grade_of
from aufleet.errors import AufleetError, ConfigError, DataError


def test_six_scores_make_four_grades() -> None:
    assert [grade_of(score).label for score in range(1, 7)] == [
        "normal",
        "low",
        "medium",
        "medium",
        "high",
        "high",
    ]
    assert [grade.house_brackmann for grade in Grade] == [(1, 1), (2, 2), (3, 4), (5, 6)]


@pytest.mark.parametrize("score", [0, 7, -1])
def test_a_score_that_does_not_exist_is_refused(score: int) -> None:
    with pytest.raises(DataError, match=f"score {score} does not exist: scores run from 1 to 6"):
        grade_of(score)


def test_units_are_read_by_label_or_number() -> None:
    assert [parse_unit("AU12"), parse_unit("au4"), parse_unit("26")] == [12, 4, 26]
    with pytest.raises(ConfigError, match="'AU99' is not an action unit: known units are AU1, AU2"):
        parse_unit("AU99")


def test_every_error_keeps_its_sentence_across_a_process() -> None:
    import pickle

    error = ConfigError("setting x is wrong", "set it to 1")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, AufleetError)
    assert str(again) == str(error) == "setting x is wrong: set it to 1"
