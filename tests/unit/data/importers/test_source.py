import errno
import os
import tempfile

import pytest

from aufleet.data.importers.source import READ_AHEAD, Source, _refuse, open_source
from aufleet.errors import ConfigError, DataError, ObjectMissingError
from aufleet.storage import Store, sha256_of


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def source(request: pytest.FixtureRequest) -> Source:
    """Sixty files and more in two folders, and what operating systems leave behind."""
    store: Store = request.getfixturevalue(f"{request.param}_store")
    for number in range(60):
        store.write(f"a/{number:02d}.txt", f"file {number}".encode())
    for name in ("b/x.csv", "b/._x.csv", "b/.DS_Store", "b/deep/Thumbs.db", "b/deep/y.csv"):
        store.write(name, name.encode())
    return open_source(store.uri)


def test_files_are_listed_without_what_operating_systems_leave(source) -> None:
    assert source.files("b") == ["b/deep/y.csv", "b/x.csv"]
    assert source.files("/b/deep/") == ["b/deep/y.csv"]
    assert len(source.files()) == 62
    assert source.files("nowhere") == []


def test_two_files_of_the_same_are_refused(source) -> None:
    assert source.files_by("b", name=lambda path: path[-5] if "deep" in path else None) == {
        "y": "b/deep/y.csv"
    }
    with pytest.raises(DataError, match=r"a/01\.txt and a/00\.txt are of the same: remove one"):
        source.files_by("a", name=lambda path: "x")


def test_files_are_read_ahead_in_order_and_missing_ones_are_none(source) -> None:
    paths = [f"a/{number:02d}.txt" for number in range(60)]
    paths[30] = "a/gone.txt"

    contents = list(source.read_ahead(paths))

    assert contents[30] is None
    assert [data for data in contents if data] == [
        f"file {number}".encode() for number in range(60) if number != 30
    ]
    assert source.read_all(paths[:3]) == dict(zip(paths, contents[:3], strict=False))
    with pytest.raises(ObjectMissingError, match=r"gone\.txt"):
        source.read_all(paths)


def test_reading_may_stop_in_the_middle(source) -> None:
    reading = source.read_ahead([f"a/{number:02d}.txt" for number in range(60)])

    assert [next(reading) for _ in range(READ_AHEAD)][-1] == f"file {READ_AHEAD - 1}".encode()
    reading.close()


def test_a_video_is_a_file_of_this_machine_that_no_folder_lists(
    source, tmp_path_factory, monkeypatch
) -> None:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with source.local_copy("b/deep/y.csv") as path:
        assert path.read_bytes() == b"b/deep/y.csv"
        assert list(folder.iterdir()) == []

    assert path.exists() is not source.is_remote
    with pytest.raises(ObjectMissingError, match="nothing"), source.local_copy("b/nothing"):
        pass


def test_a_file_that_changed_is_refused(source) -> None:
    sha256 = sha256_of(b"b/x.csv")

    assert source.read_unchanged("b/x.csv", sha256=sha256) == b"b/x.csv"
    with pytest.raises(DataError, match=r"a/01\.txt was changed while it was imported: repeat"):
        source.read_unchanged("a/01.txt", sha256=sha256)


def test_links_are_followed_once(local_store) -> None:
    local_store.write("real/x.csv", b"")
    local_store.write("root/y.csv", b"")
    root = f"{local_store.uri}/root"
    os.symlink(f"{local_store.uri}/real", f"{root}/linked")
    os.symlink(root, f"{root}/back")

    assert open_source(root).files() == ["linked/x.csv", "y.csv"]


def test_a_source_that_cannot_be_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*/nowhere: name the folder"):
        open_source(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="'gs://bucket' is not a store"):
        open_source("gs://bucket")


def test_a_folder_that_may_not_be_read_is_refused_and_one_that_is_not_there_is_empty() -> None:
    with pytest.raises(DataError, match=r"folder /release/F001 cannot be read \(Permission den"):
        _refuse(PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/release/F001"))
    _refuse(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/release/F001"))
