"""`aufleet health`: does a service answer? For probes, which cannot speak TLS themselves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aufleet.cli.output import console, print_json

if TYPE_CHECKING:
    import grpc


def command(
    target: str = typer.Argument(help="host:port"),
    ca_file: Annotated[
        Path | None,
        typer.Option(help="What signed the certificate; default: this machine's own authority."),
    ] = None,
    cert_file: Annotated[
        Path | None,
        typer.Option(help="Where callers need a certificate: the probe's own chain, PEM."),
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    service: str = typer.Option("", help='"" for the gateway, NAME or NAME:VERSION for a model.'),
    timeout_s: float = typer.Option(5.0, "--timeout", help="Seconds to wait for the answer."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Ask a service whether it serves: exit code 0 if it does, 1 if not. Needs no token.

    Example: aufleet health 127.0.0.1:8443 --service demo
    """
    import grpc

    chain, key = _given(cert_file), _given(key_file)
    credentials = grpc.ssl_channel_credentials(_roots(ca_file), key, chain)
    status = _ask(target, credentials, service=service, timeout_s=timeout_s)
    if as_json:
        print_json({"target": target, "service": service, "status": status})
    else:
        console.print(f"{target} {service or 'gateway'}: {status}", soft_wrap=True)
    raise typer.Exit(0 if status == "SERVING" else 1)


def _roots(ca_file: Path | None) -> bytes | None:
    from aufleet.storage.home import state_dir

    own = state_dir() / "tls" / "ca.pem"
    return _given(ca_file or (own if own.exists() else None))


def _given(file: Path | None) -> bytes | None:
    from aufleet.errors import ConfigError

    try:
        return file and file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror})") from error


def _ask(
    target: str, credentials: "grpc.ChannelCredentials", *, service: str, timeout_s: float
) -> str:
    """Return the status by name: SERVING, NOT_SERVING, or the gRPC code of a failed call."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.secure_channel(target, credentials) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # pyright: ignore - no stub
        try:
            response = check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.RpcError as error:
            return error.code().name  # pyright: ignore[reportAttributeAccessIssue] - always a Call
    return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
