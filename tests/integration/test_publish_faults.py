"""A store that is killed in the middle of a publish holds the old version or the new, no mix."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faults.proxy import FaultProxy, fault_proxy, through
from painted_importer import painted

from aufleet.data.dataset import open_dataset
from aufleet.data.publish import DatasetSpec, publish_dataset, read_manifest
from aufleet.data.verify import verify_dataset
from aufleet.errors import StoreUnavailableError
from aufleet.storage import Store, open_store
from aufleet.storage.local_server import StoreState, start_store, stop_store

pytestmark = pytest.mark.s3

SPEC = DatasetSpec(name="faces", version="1", units=(1, 12), source="a test", seed=0)
NEXT = replace(SPEC, version="2")


@pytest.fixture
def own_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreState]:
    """A server that the test may kill."""
    home.mkdir(mode=0o700)
    state = start_store(home)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", state.credentials_file)
    monkeypatch.setenv("AWS_CONFIG_FILE", state.config_file)
    yield state
    stop_store(home)


@pytest.fixture
def proxy(own_server: StoreState) -> Iterator[FaultProxy]:
    with fault_proxy(own_server.endpoint) as proxy, through(proxy):
        yield proxy


def publish(store: Store, spec: DatasetSpec, *, red: int) -> None:
    publish_dataset(
        (
            (name, [painted(name, frame, red=red) for frame in range(3)])
            for name in (f"S{number}" for number in range(6))
        ),
        spec=spec,
        store=store,
    )


@pytest.mark.parametrize("moment", ["/2/subject=S0", "/2/subject=S3", "/2/manifest.json"])
def test_after_a_kill_there_is_the_old_version_or_the_new(
    own_server, proxy, home, monkeypatch, moment
) -> None:
    store = open_store(own_server.root)
    publish(store, SPEC, red=40)
    monkeypatch.setenv("AUFLEET_STORE_DEADLINE_S", "6")
    killer = when(
        lambda: proxy.count("PUT", key=moment) > 0, lambda: os.kill(own_server.pid, signal.SIGKILL)
    )

    said = ""
    try:
        publish(store, NEXT, red=200)
    except StoreUnavailableError as error:
        said = str(error)
    killer.join()
    # The manifest may have been in time; a partition is always followed by another request.
    if said or not moment.endswith("manifest.json"):
        assert "writing s3://aufleet/datasets/faces/2/" in said
        assert "within 6 s" in said

    monkeypatch.setenv("AUFLEET_STORE_DEADLINE_S", "60")
    assert start_store(home).ports == own_server.ports
    old = open_dataset(store.uri_of(SPEC.prefix))
    assert verify_dataset(old) == []
    if read_manifest(store.child(NEXT.prefix)):
        assert moment.endswith("manifest.json"), "named before its partitions were there"
        assert verify_dataset(open_dataset(store.uri_of(NEXT.prefix))) == []
    # The same command goes on.
    publish(store, NEXT, red=200)
    new = open_dataset(store.uri_of(NEXT.prefix))
    assert verify_dataset(new) == []
    assert new.manifest.num_frames == 18


def when(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Act as soon as a condition holds, in a thread; at the latest after a minute."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.0005)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread
