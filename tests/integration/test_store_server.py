"""The local S3 server: started, stopped, killed, refused, away."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aufleet.errors import StoreCredentialsError, StoreUnavailableError
from aufleet.storage import open_store, root_uri
from aufleet.storage.local_server import start_store, stop_store, store_status, use_store

pytestmark = pytest.mark.s3


@pytest.fixture
def own_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder whose server ends with the test, and no other credentials in sight."""
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        # Set first: what the code under test sets later is then taken back as well.
        monkeypatch.setenv(name, "")
    home.mkdir(mode=0o700)
    _forget_connections()
    yield home
    stop_store(home)
    _forget_connections()


def _forget_connections() -> None:
    from aufleet.storage.s3_objects import _filesystem

    _filesystem.cache_clear()


def _environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return {**kept, "AUFLEET_HOME": str(home)}


def _verb(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aufleet.cli", "store", *arguments],
        env=_environment(home),
        capture_output=True,
        text=True,
        check=True,
    )


def test_starting_twice_gives_one_server_and_stopping_twice_is_no_error(own_home: Path) -> None:
    first = json.loads(_verb("start", "--json", home=own_home).stdout)
    second = json.loads(_verb("start", "--json", home=own_home).stdout)
    assert first["pid"] == second["pid"]
    assert json.loads(_verb("status", "--json", home=own_home).stdout)["running"]
    assert json.loads(_verb("stop", "--json", home=own_home).stdout) == {"stopped": True}
    assert json.loads(_verb("stop", "--json", home=own_home).stdout) == {"stopped": False}
    assert json.loads(_verb("status", "--json", home=own_home).stdout) == {"running": False}


def test_credentials_are_for_their_owner_only(own_home: Path) -> None:
    state = start_store(own_home)
    secret = Path(state.credentials_file).read_text().split()[-1]
    for file in own_home.iterdir():
        if file.is_file() and secret in file.read_text(errors="replace"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    words = Path(f"/proc/{state.pid}/cmdline").read_text()
    surroundings = Path(f"/proc/{state.pid}/environ").read_text()
    assert secret not in words + surroundings


def test_it_listens_on_loopback_only(own_home: Path) -> None:
    state = start_store(own_home)
    inodes = set()
    for entry in Path(f"/proc/{state.pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.add(fields[1].partition(":")[0])
    assert listening == {"0100007F"}


def test_no_port_gives_an_object_to_who_does_not_sign(own_home: Path) -> None:
    state = start_store(own_home)
    open_store(root_uri()).write("private", b"x")
    for port in state.ports:
        for path in ("aufleet/private", "buckets/aufleet/private"):
            with pytest.raises(OSError):  # noqa: PT011 - refused as 403, 404 or not HTTP at all
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5)


def test_a_killed_server_loses_nothing_and_comes_back_under_its_address(own_home: Path) -> None:
    state = start_store(own_home)
    store = open_store(root_uri()).child("kept")
    for number in range(50):
        store.write(f"{number:02d}", bytes([number]) * 1000)
    os.kill(state.pid, signal.SIGKILL)
    while store_status(own_home):
        time.sleep(0.02)
    again = start_store(own_home)
    assert again.pid != state.pid
    assert again.endpoint == state.endpoint
    # The connection from before goes on: a long search outlives its store's crash.
    for number in range(50):
        assert store.read(f"{number:02d}") == bytes([number]) * 1000


def test_wrong_credentials_are_named(own_home: Path) -> None:
    state = start_store(own_home)
    file = Path(state.credentials_file)
    secret = file.read_text().split()[-1]
    file.write_text(file.read_text().replace(secret, "0" * len(secret)))
    with pytest.raises(
        StoreCredentialsError, match="refuses the credentials for reading s3://aufleet/key: check"
    ):
        open_store(root_uri()).read("key")


def test_of_starts_at_the_same_time_one_server_comes(own_home: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        starts = list(pool.map(lambda _: _verb("start", "--json", home=own_home), range(3)))
    assert len({json.loads(start.stdout)["pid"] for start in starts}) == 1


def test_a_start_that_was_killed_half_way_is_taken_up(own_home: Path) -> None:
    half = subprocess.Popen(
        [sys.executable, "-m", "aufleet.cli", "store", "start"],
        env=_environment(own_home),
        stdout=subprocess.DEVNULL,
    )
    while not (state := store_status(own_home)):
        time.sleep(0.01)
    half.kill()
    half.wait()
    assert start_store(own_home).pid == state.pid
    assert open_store(root_uri()).exists(".ready")


def test_nothing_of_a_stopped_server_stays_in_tmp(own_home: Path) -> None:
    state = start_store(own_home)
    stop_store(own_home)
    assert not [f for port in state.ports for f in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")]


def test_a_stranger_with_the_same_process_number_is_left_alone(own_home: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        fields = ("root", "endpoint", "credentials_file", "config_file", "data")
        state = dict.fromkeys(fields, "") | {"pid": stranger.pid}
        (own_home / "store.json").write_text(json.dumps(state))
        assert not stop_store(own_home)
        assert stranger.poll() is None
        stranger.kill()


def test_a_store_that_does_not_come_up_says_why(own_home: Path) -> None:
    (own_home / "store").write_text("a file where the folder should be")
    with pytest.raises(FileExistsError):
        start_store(own_home)
    assert store_status(own_home) is None


def test_using_a_store_names_two_files_and_no_secret(own_home: Path) -> None:
    assert use_store(own_home) is None
    state = start_store(own_home)
    assert use_store(own_home) == state
    assert os.environ["AWS_SHARED_CREDENTIALS_FILE"] == state.credentials_file
    assert os.environ["AWS_CONFIG_FILE"] == state.config_file
    secret = Path(state.credentials_file).read_text().split()[-1]
    assert all(secret not in value for value in os.environ.values())


def test_a_store_that_hangs_is_one_clear_error(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUFLEET_STORE_DEADLINE_S", "3")
    state = start_store(own_home)
    store = open_store(root_uri())
    os.kill(state.pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="writing s3://aufleet/key got no answer"):
        store.write("key", b"")
    assert time.monotonic() - began < 6


def test_a_store_that_stays_away_is_one_clear_error(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUFLEET_STORE_DEADLINE_S", "2")
    start_store(own_home)
    store = open_store(root_uri())
    stop_store(own_home)
    began = time.monotonic()
    with pytest.raises(
        StoreUnavailableError, match="reading s3://aufleet/key got no answer within 2 s"
    ):
        store.read("key")
    assert time.monotonic() - began < 6
