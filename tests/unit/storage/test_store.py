import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from aufleet.errors import (
    AlreadyExistsError,
    ConfigError,
    ObjectCorruptError,
    ObjectMissingError,
    StoreError,
)
from aufleet.storage import Store, open_store, sha256_of


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
