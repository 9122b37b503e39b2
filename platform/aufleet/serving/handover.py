"""How a gateway that ends leaves its callers to the one that follows it on the same port.

gRPC's own stop tells callers to go elsewhere, but what has come by then and was not looked at yet
it ends as CANCELLED, which nobody tries again; under load that happened to every other gateway that
was replaced. So a gateway with a follower first stops listening and goes on answering: its
connections reach their greatest age one by one, and then callers open another one without losing a
call.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil

from aufleet.serving.port import ANYWHERE

CONNECTION_AGE_S = 30.0
"""A connection takes no new call after this time, give or take a tenth of it."""
LONGEST_S = 1.2 * CONNECTION_AGE_S
"""No hand-over takes longer."""
LOOK_S = 0.5
"""How often it is looked whether all callers have gone, and the follower is still there."""


async def hand_over(host: str, port: int, *, look_s: float = LOOK_S) -> None:
    """Stop listening, and wait until nobody is connected; not where nobody follows.

    Args:
        host: The address that this process listens on.
        port: Its port.
        look_s: How often it is looked.
    """
    stop_listening(port)
    loop = asyncio.get_running_loop()
    ends = loop.time() + LONGEST_S
    while num_connections(port) and loop.time() < ends and await _is_followed(host, port):
        await asyncio.sleep(look_s)


def stop_listening(port: int) -> None:
    """Let this process take no new connection at a port; the ones that are open stay."""
    for each in _sockets(port):
        if each.status == psutil.CONN_LISTEN:
            # gRPC has no call for that. Its own descriptor stays, or another file might get it.
            with suppress(OSError), socket.socket(fileno=os.dup(each.fd)) as listener:
                listener.shutdown(socket.SHUT_RDWR)


def num_connections(port: int) -> int:
    """Return how many connections of a port this process has."""
    return sum(each.status == psutil.CONN_ESTABLISHED for each in _sockets(port))


def _sockets(port: int) -> Iterator[Any]:
    for each in psutil.Process().net_connections(kind="tcp"):
        if each.laddr and each.laddr.port == port:
            yield each


async def _is_followed(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(
                "localhost" if host in ANYWHERE else host, port
            )
    except OSError:
        return False
    writer.close()
    return True
