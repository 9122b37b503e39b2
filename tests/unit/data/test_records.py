import numpy as np
import pytest

from aufleet.errors import DataError


def test_a_record_keeps_what_it_is_given(make_record) -> None:
    record = make_record("S1", 7, house_brackmann=4, grade=2, side="left")

    assert (record.subject, record.frame, record.grade) == ("S1", 7, 2)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"landmarks": np.zeros((48, 2), np.float32)}, "49 finite points"),
        ({"landmarks": np.full((49, 2), np.nan, np.float32)}, "49 finite points"),
        ({"landmarks_68": np.zeros((66, 2), np.float32)}, "68 finite points"),
        ({"units": (0, 1, 2)}, "unit label 2"),
        ({"intensities": (1, 2)}, "2 intensities for 3 units"),
        ({"house_brackmann": 3, "grade": 1}, "gives 2"),
        ({"house_brackmann": 7, "grade": 3}, "House-Brackmann score 7 does not exist"),
        ({"grade": 1}, "gives 9"),
        ({"side": "up"}, "none, left or right"),
    ],
)
def test_a_record_that_would_poison_training_is_refused(make_record, change, complaint) -> None:
    with pytest.raises(DataError, match=complaint):
        make_record("S1", 7, **change)
