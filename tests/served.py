"""A service as a user starts it, `aufleet serve`, and models for it to serve."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import psutil
from cards import a_package

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.api.v1.face_analysis_service_pb2_grpc import FaceAnalysisServiceStub
from aufleet.registry import Versions
from aufleet.registry.package import write_package
from aufleet.serving.tokens import TokenFile
from aufleet.storage import Store

GRADES = ("normal", "low", "medium", "high")
START_TIMEOUT_S = 240
STOP_TIMEOUT_S = 60
WORDS_TIMEOUT_S = 120


class Service:
    """A running `aufleet serve` and a caller's view of it."""

    def __init__(self, home: Path, process: subprocess.Popen) -> None:
        self.home, self.process = home, process
        self.ready_file = home / "serve.json"

    def await_ready(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.ready_file.exists():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.1)
        self.ready = ready = json.loads(self.ready_file.read_text())
        self.target = ready["target"]
        self.roots = Path(ready["ca_file"]).read_bytes()
        self.token = Path(ready["token_file"]).read_text().strip()
        self.channel = grpc.secure_channel(self.target, grpc.ssl_channel_credentials(self.roots))
        self.faces = FaceAnalysisServiceStub(self.channel)

    @property
    def output(self):
        return (self.home / "output").read_text()

    def await_words(self, words):
        """Wait until the service has printed this."""
        self._await(lambda: words in self.output)

    def await_logged(self, text):
        """Wait until the access log holds a text: gateways write as calls end."""
        log = self.home / "logs" / "access.log"
        self._await(lambda: text in log.read_text())

    def await_place(self):
        """Wait until the next version finds a place that is ready."""
        ready, taken = "a place for the next version is ready", "is being loaded"
        self._await(lambda: self.output.rfind(ready) > self.output.rfind(taken))

    def _await(self, holds):
        deadline = time.monotonic() + WORDS_TIMEOUT_S
        while not holds():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.2)

    def metadata(self, token=None):
        return (("authorization", f"Bearer {token or self.token}"),)

    def detect(self, *frames, **fields):
        request = messages.DetectActionUnitsRequest(frames=frames, **fields)
        return self.faces.DetectActionUnits(request, metadata=self.metadata(), timeout=30)

    def create_token(self, name, *scopes):
        return TokenFile(self.home / "tokens.json").create(name, scopes=scopes, expires_days=1)

    def listening(self):
        """Return the TCP addresses (ip, port) on which the service's processes listen."""
        family = psutil.Process(self.process.pid)
        found = set()
        for process in (family, *family.children(recursive=True)):
            with suppress(psutil.Error):
                found |= {
                    each.laddr
                    for each in process.net_connections(kind="tcp")
                    if each.status == psutil.CONN_LISTEN
                }
        return found

    def processes(self):
        """Return the commands of all processes that the service has started, and its own."""
        mark = f"AUFLEET_HOME={self.home}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_bytes())
            except OSError:
                continue
        return [command for command in found if command]


@contextmanager
def running_service(
    home: Path, *models: str, root: Store, options: Sequence[str] = ()
) -> Iterator[Service]:
    """Serve models until the end of the block; `options` are further ones of the verb."""
    named = [word for model in models for word in ("--model", model)]
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "aufleet.cli", "serve", *named),
                *("--ready-file", str(home / "serve.json"), *options),
            ],
            env={**os.environ, "AUFLEET_HOME": str(home), "AUFLEET_ROOT": root.uri},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Service(home, process)
    try:
        running.await_ready()
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(STOP_TIMEOUT_S)


def publish_champion(
    name: str,
    weights: Mapping,
    network: Mapping,
    *,
    root: Store,
    registry: Versions,
    member: str = "fold1",
    **facts,
) -> str:
    """Put a network into the store and the registry, as a champion; return its package's URI.

    Args:
        name: Of the model.
        weights: The network's tensors.
        network: Its `config`.
        root: The store.
        registry: The versions.
        member: Which fold it was trained for.
        facts: What its card says otherwise than an untrained network of `UNITS`; `task` at least.
    """
    said = {} if facts["task"] == "au" else {"units": (), "grades": GRADES, "thresholds": {}}
    card, packed = a_package({member: weights}, network, name=name, **said | facts)
    version = registry.register(card, package_uri=write_package(card, packed, root=root))
    registry.set_alias(name, version=version.version, alias="champion")
    return version.package_uri
