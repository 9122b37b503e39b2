"""The local S3 server: started, stopped, killed, refused, away."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aufleet.errors import StoreCredentialsError, StoreUnavailableError
from aufleet.storage import open_store, root_uri
from aufleet.storage.local_server import start_store, stop_store, store_status

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


def _verb(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "aufleet.cli", "store", *arguments],
        env={**environment, "AUFLEET_HOME": str(home)},
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


def test_a_killed_server_loses_nothing(own_home: Path) -> None:
    state = start_store(own_home)
    store = open_store(root_uri()).child("kept")
    for number in range(50):
        store.write(f"{number:02d}", bytes([number]) * 1000)
    os.kill(state.pid, signal.SIGKILL)
    while store_status(own_home):
        time.sleep(0.02)
    again = start_store(own_home)
    assert again.pid != state.pid
    _forget_connections()
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
    assert time.monotonic() - began < 10
