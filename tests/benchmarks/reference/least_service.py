"""The least that a gateway and an analyzer in a process of its own can be; no Ray, no promises.

    python least_service.py analyzer SOCKET
    python least_service.py gateway SOCKET PORT CERTIFICATE KEY

The gateway ends TLS and passes bytes through a socket. The analyzer does the work that no answer
can do without: it reads the message, decodes the frame, judges its sharpness and runs the network.
There is no token, limit, deadline, batch, log line or metric, and an error ends the process. No
service of grpc.aio whose network runs in another process can be faster.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import cast

import grpc
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `cards`

ANSWER_BYTES = 300
HEADER = Struct("<IQ")
"""Bytes of the message, number of the call."""


class Pipe(asyncio.Protocol):
    """One end of the socket between the two."""

    def __init__(self, on_message: "Callable[[Pipe, int, bytes], None]") -> None:
        self._on_message, self._rest = on_message, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def send(self, number: int, message: bytes) -> None:
        """Send a message."""
        self._transport.write(HEADER.pack(len(message), number) + message)

    def data_received(self, data: bytes) -> None:
        """Take parts of messages, or several."""
        self._rest += data
        begin = 0
        while len(self._rest) - begin >= HEADER.size:
            size, number = HEADER.unpack_from(self._rest, begin)
            end = begin + HEADER.size + size
            if len(self._rest) < end:
                break
            self._on_message(self, number, bytes(self._rest[begin + HEADER.size : end]))
            begin = end
        del self._rest[:begin]


async def analyze(socket: str) -> None:
    """Answer what comes through the socket."""
    import torch
    from trivial import Trivial

    from aufleet.api.v1 import face_analysis_service_pb2 as messages
    from aufleet.data.alignment import centre_crop, to_input
    from aufleet.data.decoding import decode_frame
    from aufleet.serving.gradability import judge_sharpness

    torch.set_num_threads(1)
    network = Trivial().eval()

    def answer(pipe: Pipe, number: int, message: bytes) -> None:
        request = messages.DetectActionUnitsRequest.FromString(message)
        frame = decode_frame(request.frames[0].aligned)
        judge_sharpness(frame)
        with torch.inference_mode():
            units = network(torch.from_numpy(to_input(centre_crop(frame)[None]))).probabilities
        pipe.send(number, units.numpy().tobytes().ljust(ANSWER_BYTES))

    # Named, so that it is not collected.
    _server = await asyncio.get_running_loop().create_unix_server(lambda: Pipe(answer), socket)
    await stay()


async def forward(socket: str, port: str, certificate: str, key: str) -> None:
    """Pass what comes over TLS through the socket."""
    loop = asyncio.get_running_loop()
    waiting: dict[int, asyncio.Future[bytes]] = {}
    _, pipe = await loop.create_unix_connection(
        lambda: Pipe(lambda _pipe, number, message: waiting.pop(number).set_result(message)),
        socket,
    )
    count = 0

    async def pass_on(message: bytes, _context: object) -> bytes:
        nonlocal count
        count += 1
        waiting[count] = answer = loop.create_future()
        pipe.send(count, message)
        return await answer

    class Handlers(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(pass_on)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(),))
    credentials = grpc.ssl_server_credentials(
        [(Path(key).read_bytes(), Path(certificate).read_bytes())]
    )
    server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    await stay()


async def stay() -> None:
    """Say that it can begin, and wait to be killed."""
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    os.nice(15)  # as Ray runs its workers
    uvloop.run({"analyzer": analyze, "gateway": forward}[sys.argv[1]](*sys.argv[2:]))
