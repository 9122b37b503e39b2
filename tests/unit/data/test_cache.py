"""The node's cache: once per node, within its limit, never the truth."""

import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aufleet.data import cache as cache_room
from aufleet.data.cache import NodeCache, node_cache
from aufleet.data.partition import SubjectFrames
from aufleet.data.shard import pack_shard, read_shard
from aufleet.errors import ConfigError, ObjectCorruptError


def frames_of(subject: str, *, count: int = 20, size_bytes: int = 1000) -> SubjectFrames:
    random = np.random.default_rng(len(subject))
    text = np.array([""] * count)
    return SubjectFrames(
        subject=subject,
        sequence=text,
        frame=np.arange(count),
        jpeg=tuple(random.bytes(size_bytes + row) for row in range(count)),
        landmarks=random.normal(size=(count, 49, 2)).astype(np.float32),
        landmarks_68=np.full((count, 68, 2), np.nan, dtype=np.float32),
        landmark_source=text,
        units=random.integers(0, 2, (count, 3)),
        intensities=np.zeros((count, 3), dtype=np.int64),
        house_brackmann=np.zeros(count, dtype=np.int64),
        grade=np.full(count, 9),
        side=np.array(["left", "right", "none", ""] * (count // 4)),
        exercise=text,
    )


PACKED = pack_shard(frames_of("S1"))


def must_not_load() -> bytes:
    raise AssertionError("the shard is in the cache")


def fill(cache: NodeCache, *digests: str) -> None:
    for digest in digests:
        cache.open(digest, source=digest, load=lambda: PACKED)


def kept(cache: NodeCache) -> set[str]:
    return {file.name.split(".")[0] for file in cache.folder.glob("*.shard")}


def test_a_shard_gives_back_what_was_packed() -> None:
    frames = frames_of("S1")

    shard = read_shard(pack_shard(frames), source="here")

    assert len(shard) == 20
    assert tuple(shard.picture("jpeg", row) for row in range(20)) == frames.jpeg
    np.testing.assert_array_equal(shard.landmarks, frames.landmarks)
    np.testing.assert_array_equal(shard.landmarks_68, frames.landmarks_68)
    np.testing.assert_array_equal(shard.units, frames.units)
    assert shard.sides.tolist() == [1, 2, 0, 9] * 5
    assert not shard.has_crops


@pytest.mark.parametrize("position", [0.001, 0.02, 0.2, 0.5, 0.9])
def test_a_flipped_bit_in_a_shard_is_noticed(position) -> None:
    damaged = bytearray(PACKED)
    damaged[int(position * len(PACKED))] ^= 1

    with pytest.raises(ObjectCorruptError, match=r"s3://b/subject=S1/x\.parquet as this process"):
        read_whole(bytes(damaged), source="s3://b/subject=S1/x.parquet")


def read_whole(data: bytes, *, source: str) -> list[bytes]:
    shard = read_shard(data, source=source)
    return [shard.picture("jpeg", row) for row in range(len(shard))]


def test_what_was_loaded_once_is_not_loaded_again(tmp_path) -> None:
    cache = NodeCache(folder=tmp_path / "cache")
    first = cache.open("a", source="a", load=lambda: PACKED)

    again = cache.open("a", source="a", load=must_not_load)

    assert again.file == first.file
    assert [again.picture("jpeg", row) for row in range(20)] == [
        first.picture("jpeg", row) for row in range(20)
    ]
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_a_shard_lies_in_pages_that_processes_share(tmp_path) -> None:
    big = pack_shard(frames_of("S1", count=200, size_bytes=100_000))
    cache = NodeCache(folder=tmp_path)
    shard = cache.open("a", source="a", load=lambda: big)
    before = private_bytes()

    total = sum(len(shard.picture("jpeg", row)) for row in range(200))

    assert total > 20e6
    assert private_bytes() - before < 5e6


def private_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def test_the_one_opened_longest_ago_goes_first(tmp_path) -> None:
    cache = NodeCache(folder=tmp_path, limit_bytes=int(3.5 * len(PACKED)))
    for age, digest in enumerate("cba"):
        fill(cache, digest)
        os.utime(next(tmp_path.glob(f"{digest}.*.shard")), (1000 - age, 1000 - age))
    cache.open("a", source="a", load=must_not_load)

    fill(cache, "d")

    assert kept(cache) == {"a", "c", "d"}


def test_what_is_in_use_stays_and_what_finds_no_room_is_said_once(tmp_path, caplog) -> None:
    cache = NodeCache(folder=tmp_path, limit_bytes=int(1.5 * len(PACKED)))
    used = cache.open("a", source="a", load=lambda: PACKED)

    others = [cache.open(name, source=name, load=lambda: PACKED) for name in "bc"]

    assert kept(cache) == {"a"}
    assert [other.picture("jpeg", 3) for other in others] == [used.picture("jpeg", 3)] * 2
    assert all(other.file is None for other in others)
    assert len(caplog.records) == 1
    assert f"the cache {tmp_path} is full: running trials use" in caplog.text
    del used
    fill(cache, "d")
    assert kept(cache) == {"d"}


@pytest.mark.parametrize(
    "damage",
    [b"", PACKED[:-1], PACKED[:100], b"x" * 1000],
    ids=["empty", "cut off", "header only", "something else"],
)
def test_a_damaged_file_is_loaded_anew(tmp_path, damage) -> None:
    cache = NodeCache(folder=tmp_path)
    fill(cache, "a")
    next(tmp_path.glob("a.*.shard")).write_bytes(damage)

    shard = cache.open("a", source="a", load=lambda: PACKED)

    assert shard.picture("jpeg", 19) == read_shard(PACKED, source="a").picture("jpeg", 19)
    assert next(tmp_path.glob("a.*.shard")).read_bytes() == PACKED


def test_nothing_but_shards_is_left(tmp_path) -> None:
    cache = NodeCache(folder=tmp_path)
    left = tmp_path / ".unfinished-of-a-dead-process"
    left.write_bytes(b"half")
    os.utime(left, (1000, 1000))

    fill(cache, "a", "b")

    assert kept(cache) == {"a", "b"}
    assert {file.name for file in tmp_path.iterdir() if file.suffix != ".shard"} == {"room.lock"}


def _open_and_count(folder: str, started, loads) -> None:
    def load() -> bytes:
        with loads.get_lock():
            loads.value += 1
        time.sleep(0.3)
        return PACKED

    started.wait()
    shard = NodeCache(folder=Path(folder)).open("a", source="a", load=load)
    assert shard.picture("jpeg", 0)


def test_of_many_processes_that_ask_at_once_one_loads(tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    started, loads = context.Event(), context.Value("i", 0)
    processes = [
        context.Process(target=_open_and_count, args=(str(tmp_path), started, loads))
        for _ in range(6)
    ]
    for process in processes:
        process.start()
    started.set()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * 6
    assert loads.value == 1


def test_a_process_that_dies_while_it_loads_does_not_block_the_others(tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    loading = context.Event()

    def die_loading() -> None:
        def load() -> bytes:
            loading.set()
            time.sleep(60)
            return b""

        NodeCache(folder=tmp_path).open("a", source="a", load=load)

    process = context.Process(target=die_loading)
    process.start()
    assert loading.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)

    fill(NodeCache(folder=tmp_path), "a")

    assert kept(NodeCache(folder=tmp_path)) == {"a"}


def test_who_waited_long_enough_loads_by_itself(tmp_path) -> None:
    cache = NodeCache(folder=tmp_path, patience_s=0.2)
    with (tmp_path / "a.v1.lock").open("w") as stuck:
        fcntl.flock(stuck, fcntl.LOCK_EX)

        shard = cache.open("a", source="a", load=lambda: PACKED)

    assert shard.file is None
    assert len(shard) == 20


def test_a_folder_that_cannot_be_written_is_named_and_done_without(tmp_path, caplog) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = NodeCache(folder=tmp_path / "file" / "cache")

    for name in "abc":
        assert len(cache.open(name, source=name, load=lambda: PACKED)) == 20

    assert len(caplog.records) == 1
    assert "frames are read from the store" in caplog.text


def test_a_folder_of_another_user_is_not_trusted(tmp_path, caplog, monkeypatch) -> None:
    cache = NodeCache(folder=tmp_path)
    monkeypatch.setattr(cache_room.os, "getuid", lambda: os.geteuid() + 1)

    assert cache.open("a", source="a", load=lambda: PACKED).file is None

    assert "belongs to another user" in caplog.text


LIMITED = """
import resource, sys, logging
from pathlib import Path
logging.basicConfig()
from aufleet.data.cache import NodeCache
packed = Path(sys.argv[2]).read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
cache = NodeCache(folder=Path(sys.argv[1]))
for name in "abc":
    shard = cache.open(name, source=name, load=lambda: packed)
    assert shard.file is None and len(shard.picture("jpeg", 0)) == 1000
"""


def test_a_disk_that_takes_no_more_is_named_once_and_the_work_goes_on(tmp_path) -> None:
    (tmp_path / "packed").write_bytes(PACKED)
    folder = tmp_path / "cache"

    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder), str(tmp_path / "packed")],
        capture_output=True,
        text=True,
        check=True,
    )

    reason = os.strerror(errno.EFBIG)
    assert done.stderr.count(f"the cache {folder} cannot be written ({reason})") == 1
    assert not list(folder.glob("*.shard"))
    assert not list(folder.glob(".unfinished*"))


def test_the_environment_names_folder_and_limit(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AUFLEET_CACHE_DIR", str(tmp_path / "here"))
    monkeypatch.setenv("AUFLEET_CACHE_GB", "1.5")
    assert node_cache() == NodeCache(folder=tmp_path / "here", limit_bytes=1_500_000_000)
    monkeypatch.setenv("AUFLEET_CACHE_GB", "0")
    assert node_cache() is None
    monkeypatch.setenv("AUFLEET_CACHE_GB", "much")
    with pytest.raises(ConfigError, match="AUFLEET_CACHE_GB=much is no number"):
        node_cache()
