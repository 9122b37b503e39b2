"""What tests share: a real S3 server on loopback, and a fresh place in it."""

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aufleet.storage import Store, open_store
from aufleet.storage.local_server import StoreState, start_store, stop_store

if TYPE_CHECKING:
    from faults.proxy import FaultProxy

# So that tests and programs find `faults`; last, so that it hides nothing.
sys.path.append(str(Path(__file__).parent))

# A shell starts what it puts into the background deaf to Ctrl-C, and so would be all that tests
# start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreState]:
    """A real S3 server of this test process, named to the AWS libraries by two file paths."""
    home = tmp_path_factory.mktemp("s3") / "home"
    home.mkdir()
    before = {name: os.environ.pop(name, None) for name in ("AUFLEET_ROOT", "AUFLEET_HOME")}
    state = start_store(home)
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = state.credentials_file
    os.environ["AWS_CONFIG_FILE"] = state.config_file
    yield state
    stop_store(home)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if value is not None})


@pytest.fixture
def s3_store(s3_server: StoreState) -> Store:
    """An empty prefix of the S3 server."""
    return open_store(f"{s3_server.root}/{uuid.uuid4().hex}")


@pytest.fixture
def s3_proxy(s3_server: StoreState) -> "Iterator[FaultProxy]":
    """A proxy between this process and the S3 server; it fails as the test tells it to."""
    from faults.proxy import fault_proxy, through

    with fault_proxy(s3_server.endpoint, seed=1) as proxy, through(proxy):
        yield proxy


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    """An empty local folder as a store."""
    return open_store(str(tmp_path / "store"))


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest) -> Store:
    """Each kind of store in turn."""
    return request.getfixturevalue(f"{request.param}_store")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder that every verb uses."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AUFLEET_HOME", str(folder))
    monkeypatch.delenv("AUFLEET_ROOT", raising=False)
    return folder


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of this test process, so that no run finds what another one left."""
    before = os.environ.get("AUFLEET_CACHE_DIR")
    os.environ["AUFLEET_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ["AUFLEET_CACHE_DIR"]
    if before is not None:
        os.environ["AUFLEET_CACHE_DIR"] = before
