"""A service of small networks that rounds can kill parts of and move aliases under."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch
from served import Service, publish_champion, running_service

from aufleet.registry import Versions
from aufleet.storage import open_store
from aufleet_models import build_model

MODEL = "faces"
NETWORK = {"name": "resnet18", "width": 0.0625}
PATIENCE_S = 120.0
TITLES = {
    "analyzer": "ServeReplica:model-",
    "aligner": "ServeReplica:aligner",
    "gateway": "ServeReplica:gateway",
    "releases": "ReleaseController",
    "serve controller": "ServeController",
}
"""Part -> how Ray names its process."""


class Chaos:
    """A running service, its registry and its processes."""

    def __init__(self, service: Service, *, registry: Versions, work: Path) -> None:
        self.service, self.registry, self.work = service, registry, work

    def publish(self) -> str:
        """Register another version, champion at once; returns its number."""
        publish(self.work, registry=self.registry)
        return self.registry.resolve(MODEL).version

    def publish_damaged(self) -> None:
        """Register a champion whose weights were changed in the store; see that it is named."""
        before = {*self._weights()}
        version = self.publish()
        (damaged,) = {*self._weights()} - before
        data = damaged.read_bytes()
        damaged.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        self.service.await_words(f"{MODEL}:{version} cannot be loaded")
        self.roll_back()
        self.service.await_words(f"{MODEL}:{version} is unloaded")

    def lose_registry_and_store(self) -> None:
        """Take both away, kill an analyzer, wait until it is back without them, give both back."""
        names = ("mlflow.db", "root")
        for name in names:
            (self.work / name).rename(self.work / f"{name}.away")
        try:
            running = len(self.processes("analyzer"))
            gone = self.kill("analyzer")
            self.await_parts({"analyzer": running}, gone=gone)
        finally:
            for name in names:
                (self.work / f"{name}.away").replace(self.work / name)

    def _weights(self) -> Iterator[Path]:
        return (self.work / "root").rglob("model.safetensors")

    def roll_back(self) -> str:
        """Give the alias back; returns the version that has it now."""
        return self.registry.roll_back(MODEL).version

    def replace_gateway(self) -> None:
        """Let the gateways be started anew, and wait until that is done."""
        before = self.processes("gateway")
        self.service.process.send_signal(signal.SIGHUP)
        self.await_parts({"gateway": len(before)}, gone=before)
        psutil.wait_procs(before, timeout=PATIENCE_S)

    def processes(self, part: str) -> list[psutil.Process]:
        """Return the processes of a part."""
        mark, found = TITLES[part], []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                title = " ".join(process.cmdline())
                if mark in title and process.environ().get("AUFLEET_HOME") == str(
                    self.service.home
                ):
                    found.append(process)
        return found

    def kill(self, part: str, *, which: int = 0) -> list[psutil.Process]:
        """End one process of a part at once; returns it."""
        found = sorted(self.processes(part), key=lambda process: process.pid)
        assert found, f"no {part} runs"
        one = found[which % len(found)]
        one.send_signal(signal.SIGKILL)
        return [one]

    def await_parts(self, counts: dict[str, int], *, gone: Sequence[psutil.Process] = ()) -> None:
        """Wait until so many processes of each part run, and every model is ready.

        Args:
            counts: Part -> processes.
            gone: Processes that no longer count.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not self._has(counts, gone=gone):
            assert time.monotonic() < deadline, self.service.output
            time.sleep(0.2)

    def _has(self, counts: dict[str, int], *, gone: Sequence[psutil.Process]) -> bool:
        return all(
            len([one for one in self.processes(part) if one not in gone]) >= count
            for part, count in counts.items()
        )

    def memory_mib(self) -> dict[str, float]:
        """Return part -> resident MiB of its processes together."""
        return {
            part: sum(process.memory_info().rss for process in self.processes(part)) / 2**20
            for part in TITLES
        }


def publish(work: Path, *, registry: Versions) -> None:
    """Register a small network of new random weights as champion."""
    torch.manual_seed(time.monotonic_ns() % 2**31)
    network = build_model(NETWORK["name"], task="au", units=[1, 12], width=NETWORK["width"])
    publish_champion(
        MODEL,
        network.state_dict(),
        network.config,
        task="au",
        root=open_store(str(work / "root")),
        registry=registry,
    )


@contextmanager
def small_service(work: Path, *options: str) -> Iterator[Chaos]:
    """Serve one small network until the end of the block; `options` go to `aufleet serve`."""
    work = work / f"service-{os.getpid()}-{time.monotonic_ns()}"
    work.mkdir(parents=True)
    registry = Versions(f"sqlite:///{work / 'mlflow.db'}")
    publish(work, registry=registry)
    with running_service(work, MODEL, root=open_store(str(work / "root")), options=options) as one:
        yield Chaos(one, registry=registry, work=work)
