"""`aufleet serve`: model versions behind gRPC, until Ctrl-C."""

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from aufleet.cli.orphans import no_orphans
from aufleet.cli.output import console
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    from aufleet.serving.app import RunningService
    from aufleet.serving.config import GatewaySettings, ReplicaSettings
    from aufleet.serving.routing import ServedVersion
    from aufleet.serving.tls import TlsFiles

DEFAULT_TOKEN_NAME = "default"
DEFAULT_TOKEN_DAYS = 365
NEWS_PERIOD_S = 0.5


def command(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME, NAME:VERSION or NAME@ALIAS; may be given again; default: every model."
        ),
    ] = None,
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
    client_ca_file: Annotated[
        Path | None,
        typer.Option(help="PEM: callers need a certificate signed by one of these, too."),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Prometheus metrics, on the same host; 0: a free one."
            " Further gateways take the ports after it.",
        ),
    ] = None,
    gateways: int = typer.Option(1, min=1, help="Gateway processes; two outlast the end of one."),
    analyzers: int = typer.Option(1, min=1, help="Processes for each model version."),
    aligners: int = typer.Option(1, min=1, help="Processes that find faces in photos."),
    gpus: float = typer.Option(0.0, min=0.0, help="GPUs for each analyzer; 0.5 shares one."),
    threads: int = typer.Option(
        0, min=0, help="Of each analyzer's network; 0: the cores of one machine, shared by them."
    ),
    spares: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Places for versions that are started in advance, so that the next version"
            " answers within seconds; each takes as many processes and GPUs as a version."
            " Default: 1; 0 with --gpus, or where each --model names its version.",
        ),
    ] = None,
) -> None:
    """Serve models over gRPC with TLS and tokens, until Ctrl-C.

    Versions that have an alias are served; an alias that is moved, by `aufleet promote` or
    `aufleet rollback`, reaches callers within seconds, without a failed request.

    Without a certificate of yours one is made, signed by an authority of this machine. A first
    token is made too. Health needs no token, everything else does. Certificates and tokens are
    read again when their files change; SIGHUP starts the gateways anew.

    Example: aufleet serve --model demo --model palsy@candidate --port 8443
    """
    _stop_on_sigterm()
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(no_orphans())
        start = _prepare(host, port=port, given=(cert_file, key_file, ca_file))
        start = replace(
            start,
            gateway=replace(
                start.gateway,
                client_ca_file=_existing(client_ca_file),
                metrics_host=host,
                metrics_ports=_metrics_ports(metrics_port, gateways=gateways),
            ),
        )
        from aufleet.serving.config import ReplicaSettings

        replicas = ReplicaSettings(
            num_gateways=gateways,
            num_analyzers=analyzers,
            num_aligners=aligners,
            gpus=gpus,
            threads=threads,
        )
        if spares is None:
            # A GPU that waits costs more than the seconds that it saves.
            spares = 0 if gpus or _are_pinned(model or []) else 1
        service = stack.enter_context(
            _running(model or [], start, replicas=replicas, num_spares=spares)
        )
        ready = {
            "target": service.target,
            "token_file": str(start.token_file),
            "ca_file": str(start.tls.ca_file),
        }
        if service.metrics:
            ready["metrics"] = service.metrics[0]
        if ready_file is not None:
            stack.enter_context(_written(ready_file, ready))
        _say_ready(ready, seconds=time.monotonic() - began)
        _tell_news(service)
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


def _metrics_ports(first: int | None, *, gateways: int) -> tuple[int, ...]:
    if first is None:
        return ()
    return tuple(first + number if first else 0 for number in range(gateways))


def _existing(file: Path | None) -> Path | None:
    if file is not None and not file.is_file():
        raise ConfigError(f"there is no file {file}", "name a PEM file of certificates")
    return file and file.resolve()


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


def _are_pinned(references: Sequence[str]) -> bool:
    """Return whether no other version can ever be asked for."""
    return bool(references) and all(":" in reference for reference in references)


@contextmanager
def _running(
    models: Sequence[str], start: _Start, *, replicas: "ReplicaSettings", num_spares: int
) -> "Iterator[RunningService]":
    """Serve while the body runs."""
    from aufleet.registry.mlflow_session import mlflow_uri
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
        from aufleet.serving.config import ReleaseSettings

        console.print("starting gateway, aligner and analyzers")
        releases = ReleaseSettings(
            registry_uri=mlflow_uri(), references=tuple(models), num_spares=num_spares
        )
        replicas = replace(replicas, num_models=len({version.name for version in versions}))
        with serving(
            versions, gateway=start.gateway, replicas=replicas, releases=releases
        ) as service:
            yield service
            console.print("stopping")


def _resolve(models: Sequence[str]) -> "list[ServedVersion]":
    """Ask the registry which versions must answer before the service is ready."""
    from aufleet.registry.versions import Versions
    from aufleet.serving.following import Following

    found = Following(models, versions=Versions()).first()
    for version in found:
        console.print(f"[bold]{version.name}[/] version {version.version} ({version.task})")
    return found


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
    if "metrics" in ready:
        console.print(f"  metrics http://{ready['metrics']}/metrics", soft_wrap=True)
    console.print("research use only, not a medical device; Ctrl-C stops everything")


def _tell_news(service: "RunningService") -> None:
    """Print what changes, until Ctrl-C or SIGTERM."""
    restart = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: restart.set())
    try:
        while True:
            if restart.is_set():
                restart.clear()
                service.restart_gateways()
            for line in service.news():
                console.print(f"[dim]{datetime.now():%H:%M:%S}[/] {escape(line)}", soft_wrap=True)
            time.sleep(NEWS_PERIOD_S)
    except KeyboardInterrupt:
        # Stopping takes a few seconds; an impatient second Ctrl-C must not leave processes.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _stop_on_sigterm() -> None:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
