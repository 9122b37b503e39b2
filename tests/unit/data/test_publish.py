import json
from dataclasses import replace

import pytest

from aufleet.data.dataset import open_dataset
from aufleet.data.importers.contract import Unusable
from aufleet.data.manifest import Manifest
from aufleet.data.publish import publish_dataset
from aufleet.data.unusable import decode_list
from aufleet.errors import AlreadyExistsError, ConfigError, DataError
from aufleet.storage import open_store


def test_a_published_data_set_says_what_it_holds(dataset) -> None:
    manifest = dataset.manifest

    assert manifest.subjects == tuple(f"S{number}" for number in range(1, 10))
    assert manifest.num_frames == sum(4 + number % 3 for number in range(1, 10))
    assert manifest.unit_labels == ("AU1", "AU2", "AU12")
    # AU1 is coded by the frame's parity, AU2 is always there, AU12 is never coded.
    assert 0.4 < manifest.positive_rates["AU1"] < 0.6
    assert manifest.positive_rates["AU2"] == 1
    assert "AU12" not in manifest.positive_rates
    assert manifest.grade_counts == {"not graded": manifest.num_frames}
    assert manifest.unusable == {}


def test_every_subject_stands_in_one_part_of_each_fold(dataset) -> None:
    for number in (1, 2, 3):
        fold = dataset.fold(number)
        assert sorted([*fold.train, *fold.validation, *fold.test]) == list(
            dataset.manifest.subjects
        )
        assert len(fold.validation) == 2
    tested = [subject for number in (1, 2, 3) for subject in dataset.fold(number).test]
    assert sorted(tested) == list(dataset.manifest.subjects)
    with pytest.raises(ConfigError, match="no fold 4"):
        dataset.fold(4)


def test_publishing_again_changes_nothing_whatever_the_order(
    dataset, subjects, spec, store
) -> None:
    before = {key: store.read(key) for key in store.keys("datasets")}
    shuffled = [(subject, records[::-1]) for subject, records in subjects[::-1]]

    manifest = publish_dataset(shuffled, spec=spec, store=store)

    assert manifest == dataset.manifest
    assert {key: store.read(key) for key in store.keys("datasets")} == before


def test_a_version_never_changes(dataset, subjects, spec, store, make_record) -> None:
    with pytest.raises(AlreadyExistsError, match=r"datasets/faces/1 .*choose another version"):
        publish_dataset(subjects[1:], spec=spec, store=store)

    assert open_dataset(dataset.uri).manifest == dataset.manifest
    other = publish_dataset(subjects[1:], spec=replace(spec, version="2"), store=store)
    assert len(other.subjects) == 8


def test_equal_data_sets_have_equal_digests_wherever_they_lie(
    dataset, subjects, spec, tmp_path
) -> None:
    elsewhere = publish_dataset(subjects, spec=spec, store=open_store(str(tmp_path / "elsewhere")))

    assert elsewhere.digest == dataset.manifest.digest
    assert elsewhere.to_bytes() == dataset.manifest.to_bytes()


def test_one_subject_is_stored_before_the_next_is_asked_for(subjects, spec, store) -> None:
    stored = []

    def produced():
        for subject in subjects:
            stored.append(len(store.keys("datasets/faces/1/")))
            yield subject

    progress = []
    publish_dataset(produced(), spec=spec, store=store, progress=progress.append)

    assert stored == list(range(9))
    assert progress == [len(records) for _, records in subjects]


def test_nothing_is_visible_before_the_last_subject(subjects, spec, store) -> None:
    def produced():
        yield from subjects[:7]
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError):
        publish_dataset(produced(), spec=spec, store=store)

    assert not store.exists("datasets/faces/1/manifest.json")
    assert len(publish_dataset(subjects, spec=spec, store=store).subjects) == 9


def test_what_could_not_be_used_is_counted_by_reason_and_listed(subjects, spec, store) -> None:
    unusable: list[Unusable] = []

    def produced():
        yield from subjects
        yield "S99", []
        unusable.append(lost("S1", frame=7))
        unusable.append(lost("S1", frame=None, count=2))

    publish_dataset(produced(), spec=spec, store=store, unusable=unusable)
    dataset = open_dataset(store.uri_of(spec.prefix))

    assert dataset.manifest.unusable == {"no face": 3, "subject without a usable frame": 1}
    assert "S99" not in dataset.manifest.subjects
    listed = dataset.manifest.unusable_list
    assert listed is not None
    items = decode_list(dataset.store.read_verified(listed.key, sha256=listed.sha256))
    assert items[:2] == [lost("S1", frame=None, count=2), lost("S1", frame=7)]
    assert items[2].subject == "S99"


def lost(subject: str, *, frame: int | None, count: int = 1) -> Unusable:
    return Unusable(subject=subject, sequence="T,1", frame=frame, reason="no face", count=count)


def test_frames_in_which_a_unit_was_coded_are_counted(dataset) -> None:
    total = dataset.manifest.num_frames

    assert dataset.manifest.coded_frames == {"AU1": total, "AU2": total, "AU12": 0}


def test_fixed_parts_may_name_subjects_that_are_not_there(subjects, spec, store) -> None:
    names = [name for name, _ in subjects]
    parts = (("S98", *names[:3]), tuple(names[3:6]), (*names[6:], "S99"))

    manifest = publish_dataset(subjects, spec=replace(spec, parts=parts), store=store)

    assert [manifest.fold(number).test for number in (1, 2, 3)] == [
        tuple(names[:3]),
        tuple(names[3:6]),
        tuple(names[6:]),
    ]


@pytest.mark.parametrize(
    ("parts", "error", "complaint"),
    [
        (("S1 S2 S3", "S4 S5 S6", "S7 S8"), DataError, "S9 stands in none of the 3 fixed parts"),
        (("S1 S2 S3 S4", "S5", "S6 S7 S8 S9"), ConfigError, "part 2 of the fixed folds has 1"),
    ],
)
def test_fixed_parts_that_do_not_fit_are_refused(
    subjects, spec, store, parts, error, complaint
) -> None:
    fixed = replace(spec, parts=tuple(tuple(part.split()) for part in parts))

    with pytest.raises(error, match=complaint):
        publish_dataset(subjects, spec=fixed, store=store)


def as_first_schema(manifest: Manifest) -> bytes:
    """Return the manifest as the first release of aufleet wrote it."""
    old = manifest.model_copy(
        update={"schema_version": 1, "coded_frames": None, "unusable_list": None}
    )
    assert "coded_frames" not in json.loads(old.to_bytes())
    return old.to_bytes()


def test_a_manifest_of_the_first_schema_is_still_read(dataset, subjects, spec, store) -> None:
    key = f"{spec.prefix}/manifest.json"
    store.write(key, as_first_schema(dataset.manifest))

    old = open_dataset(dataset.uri).manifest

    assert old.coded_frames is None
    assert old.partitions == dataset.manifest.partitions
    # The same frames published again are the same data set, and its manifest stays as it was.
    assert publish_dataset(subjects, spec=spec, store=store) == old
    with pytest.raises(AlreadyExistsError):
        publish_dataset(subjects[1:], spec=spec, store=store)


def test_each_part_gets_its_share_of_grades_and_sides(make_record, spec, store) -> None:
    kinds = [("none", 1, 0), ("left", 4, 2), ("right", 6, 3)]
    subjects = [
        (
            f"S{number}",
            [make_record(f"S{number}", 1, side=side, house_brackmann=score, grade=grade)],
        )
        for number in range(9)
        for side, score, grade in [kinds[number // 3]]
    ]

    manifest = publish_dataset(subjects, spec=spec, store=store)

    assert manifest.grade_counts == {"high": 3, "medium": 3, "normal": 3}
    for number in (1, 2, 3):
        assert {int(subject[1:]) // 3 for subject in manifest.fold(number).test} == {0, 1, 2}


@pytest.mark.parametrize(
    ("bad", "error", "complaint"),
    [
        (lambda make: [("S1", [make("S1", 1)])] * 2, DataError, "S1 comes twice"),
        (lambda make: [("S1", [make("S2", 1)])], DataError, "S2/T1 frame 1 .* frames of S1"),
        (lambda make: [("S1", [make("S1", 1)] * 2)], DataError, "S1/T1 frame 1 stands twice"),
        (lambda make: [("S1", [make("S1", 1, units=(0, 1))])], DataError, "2 units, not 3"),
        (lambda make: [("S1", [make("S1", 1)])], ConfigError, "1 subjects cannot be split"),
        (lambda make: [("../S1", [make("../S1", 1)])], DataError, r"'\.\./S1'"),
    ],
)
def test_what_does_not_belong_is_refused(make_record, spec, store, bad, error, complaint) -> None:
    with pytest.raises(error, match=complaint):
        publish_dataset(bad(make_record), spec=spec, store=store)

    assert not store.exists("datasets/faces/1/manifest.json")


@pytest.mark.parametrize("change", [{"name": "../faces"}, {"version": "a b"}, {"name": ""}])
def test_a_name_must_be_usable_in_a_key(subjects, spec, change) -> None:
    with pytest.raises(ConfigError, match="letters, digits"):
        replace(spec, **change)
