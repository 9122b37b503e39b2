import asyncio
import socket
import sys
from contextlib import asynccontextmanager

import grpc
import pytest

from aufleet.serving.handover import hand_over, num_connections, stop_listening


@asynccontextmanager
async def with_a_caller():
    """Yield the port of a real server that shares it, and a connection to it."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 1)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with socket.create_connection(("127.0.0.1", port)) as caller:
        await until(lambda: num_connections(port) == 1)
        yield port, caller
    await server.stop(None)


async def until(holds):
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def test_a_port_that_is_listened_at_no_longer_keeps_its_connections():
    async def scenario():
        async with with_a_caller() as (port, caller):
            stop_listening(port)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            assert num_connections(port) == 1
            caller.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(caller, 9), "its settings, no end"

    asyncio.run(scenario())


def test_where_nobody_follows_there_is_nothing_to_wait_for():
    async def scenario():
        async with with_a_caller() as (port, _), asyncio.timeout(20):
            await hand_over("127.0.0.1", port)
            assert num_connections(port) == 1

    asyncio.run(scenario())


def test_with_a_follower_it_waits_for_its_callers_and_then_goes():
    async def scenario():
        async with with_a_caller() as (port, caller):
            follower = await asyncio.create_subprocess_exec(
                sys.executable, "-c", FOLLOWER, str(port), stdout=asyncio.subprocess.PIPE
            )
            assert follower.stdout is not None
            assert await follower.stdout.readline() == b"listening\n"
            going = asyncio.create_task(hand_over("127.0.0.1", port, look_s=0.01))
            await asyncio.sleep(0.3)
            assert not going.done()
            caller.close()
            async with asyncio.timeout(20):
                await going
            follower.kill()
            await follower.wait()

    asyncio.run(scenario())


FOLLOWER = """
import socket, sys
with socket.socket() as follower:
    follower.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    follower.bind(("127.0.0.1", int(sys.argv[1])))
    follower.listen(99)
    print("listening", flush=True)
    while True:
        follower.accept()[0].close()
"""
