import time

import pytest

from aufleet.data.orphans import Orphan, dataset_versions, find_orphans
from aufleet.data.publish import publish_dataset
from aufleet.errors import ObjectCorruptError
from aufleet.registry.orphans import find_unfinished_packages
from aufleet.storage import Store


@pytest.fixture
def version(dataset) -> Store:
    """A published version."""
    return dataset.store


def keys_of(orphans: list[Orphan]) -> list[str]:
    return [orphan.stored.key for orphan in orphans]


def later() -> float:
    """Return a moment by which everything is older than the age limit."""
    return time.time() + 60


def test_what_a_published_manifest_names_is_no_orphan(version) -> None:
    assert find_orphans(version, before_s=later()) == []


def test_what_a_published_manifest_does_not_name_is_one(version) -> None:
    stray = ("subject=S1/0.parquet", "imports/ab/subject=S1.json", "unusable/0.csv")
    for key in (*stray, "withdrawn/subject=S2.json"):
        version.write(key, b"{}")

    assert keys_of(find_orphans(version, before_s=later())) == sorted(stray)
    assert find_orphans(version, before_s=time.time() - 60) == [], "too young"


def test_a_list_of_unusable_frames_is_no_orphan(subjects, spec, store) -> None:
    publish_dataset([*subjects, ("S99", [])], spec=spec, store=store)

    assert find_orphans(store.child(spec.prefix), before_s=later()) == []


def test_an_import_in_which_something_happened_lately_is_left_alone(store) -> None:
    version = store.child("datasets/new/1")
    version.write("subject=S1/0.parquet", b"old")
    before_s = time.time() + 60

    assert keys_of(find_orphans(version, before_s=before_s)) == ["subject=S1/0.parquet"]
    assert find_orphans(version, before_s=time.time() - 60) == []


def test_receipts_go_before_what_they_speak_of(store) -> None:
    version = store.child("datasets/new/1")
    for key in ("a/0", "imports/ab/started.json", "imports/ab/subject=S1.json", "subject=S1/0"):
        version.write(key, b"")

    found = keys_of(find_orphans(version, before_s=later()))

    assert found[:2] == ["imports/ab/started.json", "imports/ab/subject=S1.json"]
    assert sorted(found[2:]) == ["a/0", "subject=S1/0"]


def test_nothing_is_an_orphan_where_the_manifest_is_damaged(version) -> None:
    version.write("manifest.json", version.read("manifest.json").replace(b"S1", b"S2", 1))
    version.write("subject=S1/0.parquet", b"")

    with pytest.raises(ObjectCorruptError, match="digest"):
        find_orphans(version, before_s=later())


def test_every_version_of_every_data_set_is_found(dataset, store) -> None:
    store.write("datasets/new/1/subject=S1/0.parquet", b"")
    store.write("datasets/new/2/manifest.json", b"")
    store.write("experiments/faces/1/manifest.json", b"")

    found = [version.uri.removeprefix(f"{store.uri}/") for version in dataset_versions(store)]
    assert found == ["datasets/faces/1", "datasets/new/1", "datasets/new/2"]
    assert [one.uri for one in dataset_versions(store, name="faces")] == [dataset.uri]


def test_weights_without_a_card_are_an_unfinished_package(store) -> None:
    for key in ("ab/model.safetensors", "cd/model.safetensors", "cd/card.json", "ef/card.json"):
        store.write(f"models/{key}", b"")

    found = find_unfinished_packages(store, before_s=later())

    assert [entry.key for entry in found] == ["models/ab/model.safetensors"]
    assert find_unfinished_packages(store, before_s=time.time() - 60) == []
