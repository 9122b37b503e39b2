import pytest
from cards import UNITS, a_package

from aufleet.errors import AufleetError, PackageError
from aufleet.registry.package import write_package
from aufleet.serving import package_cache
from aufleet.serving.package_cache import load_cached
from aufleet.storage import open_store
from aufleet_models import build_model


@pytest.fixture
def publish(tmp_path):
    """Return what puts a small network into a store of its own and returns the package's URI."""

    def put(name):
        network = build_model("resnet18", task="au", units=list(UNITS), width=0.0625)
        card, packed = a_package({"fold1": network.state_dict()}, network.config, name=name)
        return write_package(card, packed, root=open_store(str(tmp_path / "root")))

    return put


@pytest.fixture
def store_goes_away(tmp_path):
    return lambda: (tmp_path / "root").rename(tmp_path / "gone")


def test_a_package_that_was_loaded_needs_no_store(publish, store_goes_away, tmp_path):
    uri, folder = publish("faces"), tmp_path / "cache"
    first = load_cached(uri, folder=folder)
    store_goes_away()
    assert load_cached(uri, folder=folder).card == first.card
    with pytest.raises(AufleetError):
        load_cached(uri, folder=tmp_path / "another")


def test_a_damaged_copy_is_fetched_again(publish, tmp_path):
    uri, folder = publish("faces"), tmp_path / "cache"
    load_cached(uri, folder=folder)
    (weights,) = folder.rglob("model.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    load_cached(uri, folder=folder)
    assert weights.read_bytes() == whole


def test_a_damaged_package_is_refused(publish, tmp_path):
    uri = publish("faces")
    (weights,) = (tmp_path / "root").rglob("model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(PackageError, match="was changed"):
        load_cached(uri, folder=tmp_path / "cache")


def test_old_copies_make_room(publish, tmp_path, monkeypatch):
    monkeypatch.setattr(package_cache, "MAX_PACKAGES", 2)
    folder = tmp_path / "cache"
    uris = [publish(f"faces{number}") for number in range(3)]
    for uri in uris:
        load_cached(uri, folder=folder)
    assert {path.name for path in (folder / "models").iterdir()} == {
        uri.rpartition("/")[2] for uri in uris[1:]
    }


def test_a_disk_that_takes_nothing_only_costs_the_copy(publish, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert load_cached(publish("faces"), folder=tmp_path / "cache").card.name == "faces"
