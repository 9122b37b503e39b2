import pytest

from aufleet.data.importers.contract import Unusable
from aufleet.data.verify import named_objects, verify_dataset
from aufleet.errors import ObjectCorruptError, ObjectMissingError


@pytest.fixture
def lost() -> list[Unusable]:
    return [Unusable(subject="S4", sequence="T1", frame=1, reason="no face")]


def test_a_whole_data_set_has_no_damage_and_every_byte_is_read(dataset) -> None:
    heard: list[int] = []

    assert verify_dataset(dataset, progress=heard.append) == []

    assert len(heard) == 9
    assert sum(heard) == sum(partition.size_bytes for partition in dataset.manifest.partitions)


def test_every_damaged_object_is_named(subjects, spec, store, lost) -> None:
    from aufleet.data.dataset import open_dataset
    from aufleet.data.publish import publish_dataset

    publish_dataset(subjects, spec=spec, store=store, unusable=lost)
    dataset = open_dataset(store.uri_of(spec.prefix))
    keys = [named.key for named in named_objects(dataset)]
    assert len(keys) == 10
    flipped = bytearray(dataset.store.read(keys[2]))
    flipped[-1] ^= 1
    dataset.store.write(keys[2], bytes(flipped))
    dataset.store.delete(keys[5])
    dataset.store.write(keys[9], b"subject\n")

    damages = verify_dataset(dataset)

    kinds = [ObjectCorruptError, ObjectMissingError, ObjectCorruptError]
    assert [type(damage) for damage in damages] == kinds
    for damage, key in zip(damages, (keys[2], keys[5], keys[9]), strict=True):
        assert key in str(damage)
