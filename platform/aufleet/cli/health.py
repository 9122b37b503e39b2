"""`aufleet health`: does a service answer? For probes, which cannot speak TLS themselves."""

from pathlib import Path
from typing import Annotated

import typer

from aufleet.cli.output import console, print_json


def command(
    target: str = typer.Argument(help="host:port"),
    ca_file: Annotated[
        Path | None,
        typer.Option(help="What signed the certificate; default: this machine's own authority."),
    ] = None,
    service: str = typer.Option("", help='"" for the gateway, NAME or NAME:VERSION for a model.'),
    timeout_s: float = typer.Option(5.0, "--timeout", help="Seconds to wait for the answer."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Ask a service whether it serves: exit code 0 if it does, 1 if not. Needs no token.

    Example: aufleet health 127.0.0.1:8443 --service demo
    """
    status = _ask(target, roots=_roots(ca_file), service=service, timeout_s=timeout_s)
    if as_json:
        print_json({"target": target, "service": service, "status": status})
    else:
        console.print(f"{target} {service or 'gateway'}: {status}", soft_wrap=True)
    raise typer.Exit(0 if status == "SERVING" else 1)


def _roots(ca_file: Path | None) -> bytes | None:
    from aufleet.errors import ConfigError
    from aufleet.storage.home import state_dir

    own = state_dir() / "tls" / "ca.pem"
    try:
        if ca_file is not None:
            return ca_file.read_bytes()
        return own.read_bytes() if own.exists() else None
    except OSError as error:
        raise ConfigError(f"{ca_file} cannot be read ({error.strerror})") from error


def _ask(target: str, *, roots: bytes | None, service: str, timeout_s: float) -> str:
    """Return the status by name: SERVING, NOT_SERVING, or the gRPC code of a failed call."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    credentials = grpc.ssl_channel_credentials(root_certificates=roots)
    with grpc.secure_channel(target, credentials) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # pyright: ignore - no stub
        try:
            response = check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.RpcError as error:
            return error.code().name  # pyright: ignore[reportAttributeAccessIssue] - always a Call
    return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
