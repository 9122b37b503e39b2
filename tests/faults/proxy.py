"""An HTTP proxy on loopback that fails as it is told, in front of a real S3 server.

It forwards requests as they are, `Host` included, so that signatures hold. Which of its requests
fail, and how, follows from the seed and from the order of their arrival: among the first N
requests the same numbers fail in every run.

    with fault_proxy("http://127.0.0.1:8333", seed=1, rate=0.1) as proxy, through(proxy):
        ...                      # this process and those it starts reach the store through it
        proxy.away = True        # nobody listens any more
        proxy.fail_next("slow", times=2, key="subject=F001")
        assert proxy.count("GET", key=".parquet") == 41

By hand, in tests/: python -m faults.proxy http://127.0.0.1:8333 --rate 0.1
"""

import argparse
import asyncio
import contextlib
import os
import random
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from faults.messages import Connection, Gone, Head, aborted, finished, forward_request, read_head

MODES = ("error", "reset", "stall", "truncate", "slow")
"""What can happen to a request.

error: an answer of 500, 502, 503 or 504, without asking the store.
reset: the connection breaks; half of the time the store has done the work and only the answer is
    lost.
stall: silence for `stall_s`, then the true answer, if anybody still waits.
truncate: the answer's body ends in the middle; one without a body never comes.
slow: the answer's body takes `slow_s`.
"""
_ERRORS = ((500, "InternalError"), (502, "BadGateway"), (503, "SlowDown"), (504, "GatewayTimeout"))


@dataclass(frozen=True, kw_only=True)
class Request:
    """One that has arrived."""

    method: str
    path: str
    """Bucket, key and query, unquoted."""
    fault: str | None
    at_s: float
    """When, by `time.monotonic`."""


@dataclass(kw_only=True)
class _Planned:
    mode: str
    method: str
    key: str
    times: int


@dataclass(kw_only=True)
class FaultProxy:
    """A running proxy; what is set here counts from the next request on."""

    target: str
    seed: int = 0
    rate: float = 0.0
    """Share of the requests that fail."""
    modes: tuple[str, ...] = MODES
    stall_s: float = 5.0
    slow_s: float = 2.0
    only: str = ""
    """Only requests whose path holds this fail at the rate."""
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    _planned: list[_Planned] = field(default_factory=list)
    _random: random.Random = field(init=False)
    _server: asyncio.Server | None = None
    _clients: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def away(self) -> bool:
        """Whether nobody listens: connections are refused and open ones break."""
        return self._server is None

    @away.setter
    def away(self, away: bool) -> None:
        if away != self.away:
            self._run(self._close() if away else self._listen())

    @property
    def num_faults(self) -> int:
        """Requests that were made to fail."""
        return sum(request.fault is not None for request in self.requests)

    def count(self, method: str = "", *, key: str = "") -> int:
        """Return how many requests of a method came whose path holds `key`."""
        return len(self.matching(method, key=key))

    def matching(self, method: str = "", *, key: str = "") -> list[Request]:
        """Return the requests of a method whose path holds `key`, as they came."""
        return [one for one in self.requests if one.method.startswith(method) and key in one.path]

    def fail_next(self, mode: str, *, method: str = "GET", key: str = "", times: int = 1) -> None:
        """Let the next requests of a method whose path holds `key` fail in one way."""
        assert mode in MODES, mode
        with self._lock:
            self._planned.append(_Planned(mode=mode, method=method, key=key, times=times))

    def _fault_of(self, head: Head) -> str | None:
        path = unquote(head.path)
        with self._lock:
            # Drawn for each request, so that the n-th one's fate depends on nothing else.
            coin, mode = self._random.random(), self._random.choice(self.modes)
            fault = mode if coin < self.rate and self.only in path else None
            for planned in self._planned:
                if planned.times and head.method == planned.method and planned.key in path:
                    planned.times -= 1
                    fault = planned.mode
                    break
            self.requests.append(
                Request(method=head.method, path=path, fault=fault, at_s=time.monotonic())
            )
        return fault

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=2**20, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server:
            self._server.close()
        self._server = None
        for writer in tuple(self._clients):
            aborted(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client, store = Connection(reader, writer), None
        self._clients.add(writer)
        try:
            while head := await read_head(client):
                # One connection to the store for each of the client's, kept as long.
                store = store or await self._connect()
                await self._answer(head, client, store)
        except (Gone, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # Cancelled only at the very end; asyncio would complain of a task that says so.
            aborted(writer)
        finally:
            self._clients.discard(writer)
            for one in (writer, store.writer if store else writer):
                one.close()

    async def _connect(self) -> Connection:
        address = urlsplit(self.target)
        return Connection(
            *await asyncio.open_connection(address.hostname, address.port, limit=2**20)
        )

    async def _answer(self, head: Head, client: Connection, store: Connection) -> None:
        fault = self._fault_of(head)
        if fault == "error":
            await self._refuse(head, client)
            return
        if fault == "reset" and self._random.random() < 0.5:
            raise Gone
        answer = await forward_request(head, client, store)
        if fault == "reset":
            raise Gone
        if fault == "stall":
            await asyncio.sleep(self.stall_s)
        size = answer.body_size(head.method)
        if fault == "truncate":
            if size:
                client.writer.write(answer.raw)
                await client.copy_from(store, self._random.randrange(size))
                await client.writer.drain()
                raise finished(client.writer)
            raise Gone
        client.writer.write(answer.raw)
        if size is None:
            await client.copy_chunks_from(store)
        else:
            await client.copy_from(store, size, over_s=self.slow_s if fault == "slow" else 0)
        await client.writer.drain()
        if answer.header("connection").lower() == "close" or client.is_unread:
            raise finished(client.writer)

    async def _refuse(self, head: Head, client: Connection) -> None:
        # Instead of "100 Continue": the body stays with the client.
        closing = bool(head.header("expect"))
        if not closing:
            await client.skip_body(head)
        status, code = self._random.choice(_ERRORS)
        body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        client.writer.write(
            f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"Connection: {'close' if closing else 'keep-alive'}\r\n\r\n".encode()
            + (b"" if head.method == "HEAD" else body)
        )
        await client.writer.drain()
        if closing:
            raise finished(client.writer)

    def _run(self, task: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(task, self._loop).result(30)

    def _end(self) -> None:
        async def end() -> None:
            await self._close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            # Closed connections are told so in the loop's next round.
            await asyncio.sleep(0)

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)


@contextlib.contextmanager
def fault_proxy(target: str, **settings: Any) -> Iterator[FaultProxy]:
    """Run a proxy in front of `target`, in a thread of its own; settings as of `FaultProxy`."""
    proxy = FaultProxy(target=target, _loop=asyncio.new_event_loop(), **settings)
    thread = threading.Thread(target=proxy._loop.run_forever, name="fault-proxy", daemon=True)
    thread.start()
    try:
        proxy.away = False
        yield proxy
    finally:
        proxy._end()
        thread.join(30)
        proxy._loop.close()


@contextlib.contextmanager
def through(proxy: FaultProxy) -> Iterator[None]:
    """Lead this process, and those that it starts meanwhile, to the store through the proxy."""
    # It outranks the endpoint of the file that AWS_CONFIG_FILE names.
    before = os.environ.get("AWS_ENDPOINT_URL")
    os.environ["AWS_ENDPOINT_URL"] = proxy.endpoint
    _forget_connections()
    try:
        yield
    finally:
        del os.environ["AWS_ENDPOINT_URL"]
        if before is not None:
            os.environ["AWS_ENDPOINT_URL"] = before
        _forget_connections()


def _forget_connections() -> None:
    from aufleet.storage.s3_objects import _filesystem

    _filesystem.cache_clear()


def main() -> None:
    parser = argparse.ArgumentParser(description="A proxy that fails as it is told.")
    parser.add_argument("target", help="the store: http://127.0.0.1:PORT")
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    options = vars(parser.parse_args())
    with fault_proxy(**{**options, "modes": tuple(options["modes"])}) as proxy:
        print(proxy.endpoint, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
