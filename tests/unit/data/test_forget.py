import pytest

from aufleet.data.dataset import Dataset, open_dataset
from aufleet.data.forget import delete_subject, find_traces, forget_subject, next_version
from aufleet.data.importers.contract import Unusable
from aufleet.data.publish import publish_dataset
from aufleet.data.unusable import decode_list
from aufleet.data.verify import verify_dataset
from aufleet.errors import AlreadyExistsError, ConfigError, DataError, ObjectMissingError


@pytest.fixture
def dataset(subjects, spec, store) -> Dataset:
    """Nine subjects; S4 and S5 have a frame each that could not be used."""
    lost = [
        Unusable(subject=subject, sequence="T1", frame=1, reason="no face")
        for subject in ("S4", "S5")
    ]
    publish_dataset(subjects, spec=spec, store=store, unusable=lost)
    return open_dataset(store.uri_of("datasets/faces/1"))


def without(subject: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name != subject)


def test_the_other_subjects_stay_where_they_were(dataset) -> None:
    old = dataset.manifest
    heard: list[int] = []

    new = forget_subject(dataset, subject="S4", version="2", progress=heard.append).manifest

    assert new.subjects == without("S4", old.subjects)
    assert (new.version, new.replaces, new.name) == ("2", "1", "faces")
    assert sum(heard) == new.num_frames
    for before, after in zip(old.folds, new.folds, strict=True):
        assert after.train == without("S4", before.train)
        assert after.validation == without("S4", before.validation)
        assert after.test == without("S4", before.test)


def test_the_new_version_stands_alone_and_counts_anew(dataset, store, subjects) -> None:
    new = forget_subject(dataset, subject="S4", version="2")
    store.delete_below("datasets/faces/1")

    again = open_dataset(new.uri)
    assert verify_dataset(again) == []
    for subject, records in subjects:
        if subject != "S4":
            assert again.read_subject(subject).jpeg == tuple(record.jpeg for record in records)
    frames = [record for subject, records in subjects if subject != "S4" for record in records]
    active = sum(record.units[0] for record in frames)
    assert again.manifest.positive_rates["AU1"] == active / len(frames)
    assert again.manifest.coded_frames == {"AU1": len(frames), "AU2": len(frames), "AU12": 0}
    assert again.manifest.grade_counts == {"not graded": len(frames)}
    assert again.manifest.unusable == {"no face": 1}
    listed = again.manifest.unusable_list
    assert listed is not None
    assert [item.subject for item in decode_list(again.store.read(listed.key))] == ["S5"]
    assert [entry for entry in again.store.entries() if "S4" in entry.key] == []
    assert b"S4" not in again.store.read("manifest.json")


def test_what_is_left_of_the_subject_is_named_and_can_be_deleted(dataset, store) -> None:
    new = forget_subject(dataset, subject="S4", version="2")
    listed = dataset.manifest.unusable_list
    assert listed is not None

    traces = find_traces(store, name="faces", subject="S4")
    assert {(trace.uri, trace.what) for trace in traces} == {
        (dataset.store.uri_of(dataset.partition("S4").key), "frames"),
        (dataset.store.uri_of(listed.key), "list of unusable frames"),
        (dataset.store.uri_of("manifest.json"), "manifest that names the subject"),
    }

    assert len(delete_subject(dataset.store, subject="S4", successor=new.uri)) == 2
    assert delete_subject(new.store, subject="S4", successor=new.uri) == []

    (left,) = find_traces(store, name="faces", subject="S4")
    assert left.what == "manifest that names the subject"
    with pytest.raises(ObjectMissingError, match=r"S4 withdrew and was deleted from .*faces/1"):
        dataset.read_subject("S4")
    assert len(dataset.read_subject("S5")) > 0
    # What was deleted on purpose is no damage.
    assert verify_dataset(dataset) == []


def test_the_same_call_again_changes_nothing_also_after_the_deletion(dataset, store) -> None:
    new = forget_subject(dataset, subject="S4", version="2")
    delete_subject(dataset.store, subject="S4", successor=new.uri)
    before = store.entries()

    assert forget_subject(dataset, subject="S4", version="2").manifest == new.manifest

    assert store.entries() == before
    with pytest.raises(AlreadyExistsError, match="already published with other content"):
        forget_subject(new, subject="S5", version="1")


def test_somebody_is_left_to_judge_by(dataset) -> None:
    first, second = dataset.manifest.fold(1).validation

    once = forget_subject(dataset, subject=first, version="2")
    assert once.manifest.fold(1).validation == (second,)
    twice = forget_subject(once, subject=second, version="3")

    fold = twice.manifest.fold(1)
    assert len(fold.validation) == 1
    assert fold.validation[0] in dataset.manifest.fold(1).train
    assert {*fold.train, *fold.validation} == {
        *dataset.manifest.fold(1).train,
        *(set(fold.validation)),
    }
    assert fold.test == dataset.manifest.fold(1).test


def test_where_a_part_would_be_empty_a_new_split_is_asked_for(dataset) -> None:
    one, two, three = dataset.manifest.fold(1).test
    dataset = forget_subject(dataset, subject=one, version="2")
    dataset = forget_subject(dataset, subject=two, version="3")

    with pytest.raises(DataError, match=r"nobody is left in the test part of fold 1: import"):
        forget_subject(dataset, subject=three, version="4")


@pytest.mark.parametrize(
    ("subject", "version", "error", "complaint"),
    [
        ("S99", "2", DataError, "no subject S99"),
        ("S4", "1", ConfigError, "cannot name the new version"),
        ("S4", "../2", ConfigError, "cannot name the new version"),
    ],
)
def test_a_wrong_wish_is_refused(dataset, subject, version, error, complaint) -> None:
    with pytest.raises(error, match=complaint):
        forget_subject(dataset, subject=subject, version=version)


def test_the_next_version_counts_on() -> None:
    assert [next_version(version) for version in ("1", "v9", "2026.1")] == ["2", "v10", "2026.2"]
    with pytest.raises(ConfigError, match="--version"):
        next_version("final")
