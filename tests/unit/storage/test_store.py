import multiprocessing
import pickle
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aufleet.errors import (
    AlreadyExistsError,
    ConfigError,
    ObjectCorruptError,
    ObjectMissingError,
    StoreError,
)
from aufleet.storage import Store, open_store, s3_objects, sha256_of


def test_what_is_written_is_read(store: Store) -> None:
    store.write("folder/key with space.bin", b"\0one")
    store.write("folder/key with space.bin", b"\0two")
    assert store.read("folder/key with space.bin") == b"\0two"


def test_a_missing_object_is_named(store: Store) -> None:
    with pytest.raises(ObjectMissingError, match=r"nowhere/at-all .*check"):
        store.read("nowhere/at-all")


def test_a_changed_byte_is_refused_by_name(store: Store) -> None:
    store.write("shard", b"abd")
    assert store.read_verified("shard", sha256=sha256_of(b"abd")) == b"abd"
    with pytest.raises(ObjectCorruptError, match="shard has sha256"):
        store.read_verified("shard", sha256=sha256_of(b"abc"))


def test_a_prefix_is_not_an_object(store: Store) -> None:
    store.write("a/b", b"")
    assert store.exists("a/b")
    assert not store.exists("a")
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")


def test_keys_are_sorted_and_relative(store: Store) -> None:
    for key in ("b/2", "b/10", "a", "bb/1"):
        store.write(key, b"")
    assert store.keys() == ["a", "b/10", "b/2", "bb/1"]
    assert store.keys("b") == ["b/10", "b/2", "bb/1"]
    assert store.keys("b/") == ["b/10", "b/2"]
    assert store.keys("b/1") == ["b/10"]
    assert store.child("b").keys() == ["10", "2"]
    assert store.delete_below("b") == 2
    assert store.keys() == ["a", "bb/1"]


def test_many_keys_are_all_listed_and_deleted(s3_store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: s3_store.write(f"many/{n:04d}", b""), range(1_050)))
    assert s3_store.keys("many/") == [f"many/{n:04d}" for n in range(1_050)]
    assert s3_store.delete_below("many") == 1_050
    assert s3_store.keys() == []


def test_of_many_writers_of_a_new_object_exactly_one_wins(store: Store) -> None:
    def attempt(number: int) -> int | None:
        try:
            store.write_new("lease", str(number).encode())
        except AlreadyExistsError:
            return None
        return number

    with ThreadPoolExecutor(16) as pool:
        winners = [number for number in pool.map(attempt, range(16)) if number is not None]
    assert len(winners) == 1
    assert store.read("lease") == str(winners[0]).encode()


def test_a_store_travels_without_credentials(s3_store: Store, s3_server) -> None:
    s3_store.write("key", b"data")
    sent = pickle.dumps(s3_store)
    with open(s3_server.credentials_file) as file:
        secret = file.read().split()[-1]
    assert secret.encode() not in sent
    assert secret not in repr(s3_store)
    assert pickle.loads(sent).read("key") == b"data"


def test_a_forked_process_opens_its_own_connection(s3_store: Store) -> None:
    s3_store.write("key", b"before the fork")
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=lambda: answers.put(s3_store.read("key")))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert answers.get() == b"before the fork"


def test_a_uri_that_is_no_store_is_refused() -> None:
    with pytest.raises(ConfigError, match="'ftp://host/x' is not a store"):
        open_store("ftp://host/x")


def test_nothing_half_written_is_left_in_a_folder(local_store: Store) -> None:
    local_store.write("a/file", b"x")
    with pytest.raises(StoreError, match=r"writing .*file/below failed"):
        local_store.write("a/file/below", b"y")
    assert local_store.keys() == ["a/file"]


def test_a_large_object_is_downloaded_part_by_part(store: Store, tmp_path: Path) -> None:
    data = random.Random(0).randbytes(17 * 1024**2 + 5)
    store.write("video.avi", data)
    store.write("empty", b"")

    store.download("video.avi", to=tmp_path / "video.avi")
    store.download("empty", to=tmp_path / "empty")

    assert (tmp_path / "video.avi").read_bytes() == data
    assert (tmp_path / "empty").read_bytes() == b""
    with pytest.raises(ObjectMissingError, match="nowhere"):
        store.download("nowhere", to=tmp_path / "nothing")


def test_an_object_replaced_during_its_download_is_an_error(
    s3_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_objects, "_DOWNLOAD_PART_BYTES", 4)
    s3_store.write("video", b"old bytes")
    target = _ReplacingPath(
        tmp_path / "video", replace=lambda: s3_store.write("video", b"newer ones")
    )

    with pytest.raises(StoreError, match=r"video was replaced while it was read: repeat"):
        s3_store.download("video", to=target)


class _ReplacingPath(type(Path())):
    """A file whose opening replaces the object."""

    def __init__(self, *parts: object, replace: Callable[[], None]) -> None:
        self._replace = replace

    def __new__(cls, *parts: object, replace: Callable[[], None]) -> "_ReplacingPath":
        return super().__new__(cls, *parts)

    def open(self, *arguments: object) -> object:
        self._replace()
        return super().open(*arguments)


def test_a_listing_tells_size_and_time(store: Store) -> None:
    began = time.time()
    store.write("a/b", b"four")

    (entry,) = store.entries("a/")

    assert (entry.key, entry.size_bytes) == ("a/b", 4)
    # S3 tells whole seconds.
    assert began - 2 < entry.modified_s < time.time() + 2


def test_a_write_that_a_killed_process_left_is_found_and_removed(local_store: Store) -> None:
    local_store.write("a/b", b"whole")
    Path(local_store.uri, "a", ".unfinished-7").write_bytes(b"hal")

    assert local_store.keys() == ["a/b"]
    (left,) = local_store.unfinished()
    assert left.size_bytes == 3
    local_store.abandon([left, *local_store.entries()])

    assert local_store.unfinished() == []
    assert local_store.read("a/b") == b"whole"


@pytest.mark.s3
def test_an_upload_that_was_never_completed_is_found_and_removed(s3_store: Store) -> None:
    import boto3

    bucket, _, prefix = s3_store.uri.removeprefix("s3://").partition("/")
    # A session of its own: the default one remembers the files of an earlier server.
    client = boto3.Session().client("s3")
    begin_upload(client, bucket=bucket, key=f"{prefix}/a/b")
    begin_upload(client, bucket=bucket, key=f"{prefix}-beside/a")

    (left,) = s3_store.unfinished()
    assert left.key.startswith("a/b?")
    assert s3_store.keys() == []
    s3_store.abandon([left])
    # One that has ended meanwhile is no error.
    s3_store.abandon([left])

    assert s3_store.unfinished() == []


def begin_upload(client, *, bucket: str, key: str) -> None:
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"a" * 2**20)
