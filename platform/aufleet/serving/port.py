"""Where a server listens, and whether it can: asked before anything is started."""

import socket

from aufleet.errors import EnvironmentProblem

ANYWHERE = ("0.0.0.0", "::")
"""A server that listens there listens on every address of its machine."""


def join(host: str, port: int) -> str:
    """Return host and port as one text, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def target_of(host: str, *, port: int) -> str:
    """Return what a client on this machine dials to reach a server that listens there."""
    return join("localhost" if host in ANYWHERE else host, port)


def check_port(host: str, *, port: int) -> int:
    """Return the port, a free one for 0, where a server on this machine could listen there.

    Args:
        host: The address to listen on.
        port: 0 for a free one: a server that is started again must listen where it did.

    Raises:
        EnvironmentProblem: The port is taken, or the address is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server does: a port whose last connections linger is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return probe.getsockname()[1]
    except OSError as error:
        raise EnvironmentProblem(
            f"the gateway cannot listen on {join(host, port)} ({error.strerror})",
            "choose another --port, or 0 for a free one",
        ) from error
