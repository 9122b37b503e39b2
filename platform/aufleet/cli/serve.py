"""`aufleet serve`: model versions behind gRPC, until Ctrl-C."""

import json
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from aufleet.cli.orphans import no_orphans
from aufleet.cli.output import console
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    from aufleet.serving.config import GatewaySettings
    from aufleet.serving.routing import ServedVersion
    from aufleet.serving.tls import TlsFiles

DEFAULT_TOKEN_NAME = "default"
DEFAULT_TOKEN_DAYS = 365


def command(
    model: Annotated[
        list[str], typer.Option(help="NAME, NAME:VERSION or NAME@ALIAS; may be given again.")
    ],
    host: str = typer.Option("127.0.0.1", help="The address to listen on."),
    port: int = typer.Option(0, min=0, max=65535, help="0 takes a free one."),
    ready_file: Annotated[
        Path | None,
        typer.Option(help='Written once it answers: {"target", "token_file", "ca_file"}.'),
    ] = None,
    cert_file: Annotated[
        Path | None, typer.Option(help="The server's certificate chain, PEM.")
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="What clients trust; default: --cert-file.")
    ] = None,
) -> None:
    """Serve models over gRPC with TLS and tokens, until Ctrl-C.

    Without a certificate of yours one is made, signed by an authority of this machine. A first
    token is made too. Health needs no token, everything else does.

    Example: aufleet serve --model demo --model palsy@candidate --port 8443
    """
    _stop_on_sigterm()
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(no_orphans())
        start = _prepare(host, port=port, given=(cert_file, key_file, ca_file))
        target = stack.enter_context(_running(model, start))
        ready = {
            "target": target,
            "token_file": str(start.token_file),
            "ca_file": str(start.tls.ca_file),
        }
        if ready_file is not None:
            stack.enter_context(_written(ready_file, ready))
        _say_ready(ready, seconds=time.monotonic() - began)
        _wait()
    console.print("stopped")


@dataclass(frozen=True, kw_only=True)
class _Start:
    """What is there before anything runs."""

    gateway: "GatewaySettings"
    tls: "TlsFiles"
    token_file: Path


def _prepare(host: str, *, port: int, given: Sequence[Path | None]) -> _Start:
    from aufleet.serving.config import GatewaySettings
    from aufleet.serving.port import check_port
    from aufleet.storage.home import state_dir

    check_port(host, port=port)
    home = state_dir().resolve()
    tls = _certificates(home, host=host, given=given)
    token_file = _default_token(home)
    gateway = GatewaySettings(
        token_file=home / "tokens.json",
        certificate_file=tls.certificate_file,
        key_file=tls.key_file,
        host=host,
        port=port,
        access_log=home / "logs" / "access.log",
    )
    return _Start(gateway=gateway, tls=tls, token_file=token_file)


def _certificates(home: Path, *, host: str, given: Sequence[Path | None]) -> "TlsFiles":
    from aufleet.serving.port import ANYWHERE
    from aufleet.serving.tls import given_certificates, own_certificates

    cert_file, key_file, ca_file = given
    if cert_file is not None and key_file is not None:
        return given_certificates(
            cert_file.resolve(), key_file.resolve(), ca_file=ca_file and ca_file.resolve()
        )
    if cert_file is not None or key_file is not None:
        raise ConfigError("a certificate needs its key", "give both --cert-file and --key-file")
    # Nobody dials 0.0.0.0; who listens everywhere is reached by its name.
    names = {socket.gethostname(), *({host} - {*ANYWHERE})}
    return own_certificates(home / "tls", hosts=sorted(names))


def _default_token(home: Path) -> Path:
    """Return the file with this machine's own token; a new one where the old one is not valid."""
    from aufleet.errors import RequestError
    from aufleet.serving.private_files import write_private
    from aufleet.serving.tokens import SCOPES, Doorkeeper, TokenFile

    file, tokens = home / "token", TokenFile(home / "tokens.json")
    try:
        Doorkeeper(home / "tokens.json").admit(f"Bearer {file.read_text().strip()}", scope=None)
        return file
    except (OSError, RequestError):
        if any(row.name == DEFAULT_TOKEN_NAME for row in tokens.rows()):
            tokens.revoke(DEFAULT_TOKEN_NAME)
        token = tokens.create(DEFAULT_TOKEN_NAME, scopes=SCOPES, expires_days=DEFAULT_TOKEN_DAYS)
        write_private(file, f"{token}\n".encode())
        return file


@contextmanager
def _running(models: Sequence[str], start: _Start) -> Iterator[str]:
    """Serve while the body runs; yields the target."""
    from aufleet.serving.environment import use_serve_environment
    from aufleet.storage.home import use_running_store

    use_running_store()
    use_serve_environment()
    versions = _resolve(models)
    console.print(f"starting Ray for {len(versions)} model(s)")
    from aufleet.cli.ray_session import ray_session

    with ray_session():
        # Ray has put a handler of its own in place, which would leave everything running.
        _stop_on_sigterm()
        # Ray Serve reads the environment when it is imported.
        from aufleet.serving.app import serving
        from aufleet.serving.config import ReplicaSettings

        console.print("starting gateway, aligner and analyzers")
        with serving(versions, gateway=start.gateway, replicas=ReplicaSettings()) as target:
            yield target
            console.print("stopping")


def _resolve(models: Sequence[str]) -> "list[ServedVersion]":
    """Ask the registry which versions are meant; the same one twice is one."""
    from aufleet.registry.versions import Versions, parse_reference
    from aufleet.serving.routing import ServedVersion

    registry = Versions()
    found: dict[tuple[str, str], ServedVersion] = {}
    for text in models:
        name, which = parse_reference(text)
        version = registry.resolve(name, which)
        found[version.name, version.version] = ServedVersion(
            name=version.name,
            version=version.version,
            aliases=version.aliases,
            task="palsy" if version.task == "palsy" else "au",
            package_uri=version.package_uri,
        )
        console.print(f"[bold]{version.name}[/] version {version.version}, {version.architecture}")
    return list(found.values())


@contextmanager
def _written(file: Path, ready: dict[str, str]) -> Iterator[None]:
    """Keep the ready file there while the service answers."""
    from aufleet.serving.private_files import write_private

    write_private(file, (json.dumps(ready, indent=2) + "\n").encode())
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _say_ready(ready: dict[str, str], *, seconds: float) -> None:
    console.print(f"answering on [bold]{ready['target']}[/] after {seconds:.0f} s")
    console.print(f"  token  {ready['token_file']}", soft_wrap=True)
    console.print(f"  CA     {ready['ca_file']}", soft_wrap=True)
    console.print("research use only, not a medical device; Ctrl-C stops everything")


def _wait() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        # Stopping takes a few seconds; an impatient second Ctrl-C must not leave processes.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _stop_on_sigterm() -> None:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
