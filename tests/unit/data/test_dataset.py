import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from aufleet.data.dataset import open_dataset
from aufleet.errors import DataError, ObjectCorruptError, ObjectMissingError


def flip_bit(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the data set lies on disk."""
    return tmp_path / "store" / "datasets" / "faces" / "1"


@pytest.fixture
def partition_of_s4(dataset, folder) -> Path:
    return folder / dataset.partition("S4").key


def test_what_is_read_is_what_was_published(dataset, subjects) -> None:
    for subject, records in subjects:
        frames = dataset.read_subject(subject)

        assert frames.subject == subject
        assert frames.jpeg == tuple(record.jpeg for record in records)
        assert frames.frame.tolist() == [record.frame for record in records]
        np.testing.assert_array_equal(frames.units, [record.units for record in records])
        np.testing.assert_array_equal(frames.landmarks, [record.landmarks for record in records])
        assert np.isnan(frames.landmarks_68).all()
        assert (frames.intensities == -1).all()
        assert (frames.grade == 9).all()


def test_a_data_set_travels_to_another_process(dataset) -> None:
    travelled = pickle.loads(pickle.dumps(dataset))

    assert travelled.manifest == dataset.manifest
    assert travelled.read_subject("S4").jpeg == dataset.read_subject("S4").jpeg


@pytest.mark.parametrize("position", [0, 1000, -1])
def test_a_partition_with_one_flipped_bit_is_refused_by_name(
    dataset, partition_of_s4, position
) -> None:
    flip_bit(partition_of_s4, position)

    with pytest.raises(ObjectCorruptError, match=rf"subject=S4/{partition_of_s4.name}"):
        dataset.read_subject("S4")


def test_a_missing_partition_is_named(dataset, partition_of_s4) -> None:
    partition_of_s4.unlink()

    with pytest.raises(ObjectMissingError, match=rf"subject=S4/{partition_of_s4.name}"):
        dataset.read_subject("S4")


def test_a_subject_that_is_not_there_is_named_beside_those_that_are(dataset) -> None:
    with pytest.raises(DataError, match=r"no subject S44: it has S1, S2"):
        dataset.read_subject("S44")


def test_where_nothing_was_published_the_error_names_the_place(tmp_path) -> None:
    with pytest.raises(ObjectMissingError, match=r"no data set at .*nothing/7"):
        open_dataset(str(tmp_path / "nothing" / "7"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"seed": 0', '"seed": 1'),
        ('"seed": 0', '"seed": "0"'),
        ("{", "["),
        ('"digest"', '"digits"'),
    ],
)
def test_a_damaged_manifest_is_refused_by_name(dataset, folder, old, new) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(old, new, 1))

    with pytest.raises(ObjectCorruptError, match=r"manifest\.json"):
        open_dataset(str(folder))


def test_a_manifest_of_another_schema_version_says_so(dataset, folder) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema_version": 2', '"schema_version": 3'))

    with pytest.raises(DataError, match="schema version 3"):
        open_dataset(str(folder))


def test_the_manifest_is_plain_json_that_names_every_partition(dataset, folder) -> None:
    content = json.loads((folder / "manifest.json").read_text())

    named = sorted(partition["key"] for partition in content["partitions"])
    stored = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.parquet"))
    assert named == stored
    assert content["digest"] == dataset.manifest.digest
