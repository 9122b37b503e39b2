import pytest

from aufleet.domain.disfa import FAILED_LANDMARKS, NUM_FRAMES, is_usable
from aufleet.domain.folds import DISFA_PARTS


def _usable(subject: str) -> int:
    return sum(is_usable(subject, frame) for frame in range(0, NUM_FRAMES + 2))


@pytest.mark.parametrize(
    ("part", "num_frames"), list(zip(DISFA_PARTS, (43_173, 40_344, 42_627), strict=True))
)
def test_each_part_keeps_as_many_frames_as_the_published_lists(
    part: list[str], num_frames: int
) -> None:
    assert sum(_usable(subject) for subject in part) == num_frames


def test_subjects_without_failures_keep_their_whole_video() -> None:
    subjects = {subject for part in DISFA_PARTS for subject in part}
    assert set(FAILED_LANDMARKS) <= subjects
    whole = {subject: _usable(subject) for subject in subjects - set(FAILED_LANDMARKS)}
    assert whole.pop("SN010") == NUM_FRAMES - 1
    assert set(whole.values()) == {NUM_FRAMES}
    assert _usable("SN021") == 1793


def test_ranges_hold_their_ends() -> None:
    around = [is_usable("SN001", frame) for frame in (397, 398, 420, 421)]
    assert around == [True, False, False, True]
