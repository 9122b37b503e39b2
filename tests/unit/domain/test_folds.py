import pytest
from hypothesis import given
from hypothesis import strategies as st

from aufleet.domain.folds import BP4D_PARTS, DISFA_PARTS, Fold, split_by_subject
from aufleet.errors import ConfigError


@given(num_subjects=st.integers(6, 60), seed=st.integers(0, 99))
def test_folds_never_share_a_subject(num_subjects: int, seed: int) -> None:
    strata = {f"S{index:02d}": index % 2 for index in range(num_subjects)}
    folds = split_by_subject(strata, seed=seed)
    assert sorted(s for fold in folds for s in fold.test) == sorted(strata)
    for fold in folds:
        assert sorted([*fold.train, *fold.validation, *fold.test]) == sorted(strata)
        assert len(fold.validation) == 2


def test_every_part_gets_its_share_of_every_grade() -> None:
    strata = {f"S{index:02d}": index % 4 for index in range(24)}
    for fold in split_by_subject(strata, seed=3):
        grades = [strata[subject] for subject in fold.test]
        assert [grades.count(grade) for grade in range(4)] == [2, 2, 2, 2]


def test_the_same_seed_gives_the_same_folds_in_any_order_of_subjects() -> None:
    names = [f"S{index:02d}" for index in range(12)]
    forward = split_by_subject(dict.fromkeys(names), seed=1)
    assert forward == split_by_subject(dict.fromkeys(reversed(names)), seed=1)
    assert forward != split_by_subject(dict.fromkeys(names), seed=2)


def test_a_published_protocol_fixes_the_test_parts() -> None:
    strata = {subject: None for part in BP4D_PARTS for subject in part}
    folds = split_by_subject(strata, seed=0, num_validation=3, parts=BP4D_PARTS)
    assert [list(fold.test) for fold in folds] == [sorted(part) for part in BP4D_PARTS]
    assert sum(map(len, BP4D_PARTS)) == 41
    assert sum(map(len, DISFA_PARTS)) == 27


def test_too_few_subjects_are_refused_with_the_number_needed() -> None:
    with pytest.raises(ConfigError, match=r"5 subjects .* at least 6 are needed"):
        split_by_subject(dict.fromkeys("ABCDE"), seed=0)


def test_a_subject_in_two_parts_is_refused() -> None:
    with pytest.raises(ConfigError, match="subject B in more than one part"):
        Fold(number=1, train=("A", "B"), validation=("B",), test=("C",))
