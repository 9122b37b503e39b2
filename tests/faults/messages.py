"""As much of HTTP/1.1 as a proxy has to understand: where messages end."""

import asyncio
import socket
import struct
from dataclasses import dataclass

_PIECE = 64 * 1024
_SLOW_PIECES = 20


class Gone(Exception):
    """The connection has to end here."""


@dataclass(frozen=True)
class Head:
    """The first line and the headers of a message."""

    raw: bytes

    @property
    def words(self) -> list[str]:
        """The first line: method, path, version; or version, status, reason."""
        return self.raw.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)

    @property
    def method(self) -> str:
        return self.words[0]

    @property
    def path(self) -> str:
        return self.words[1]

    @property
    def status(self) -> int:
        return int(self.words[1])

    def header(self, name: str) -> str:
        """Return a header's value, "" where it is not there."""
        for line in self.raw.decode("latin-1").split("\r\n")[1:]:
            found, _, value = line.partition(":")
            if found.lower() == name:
                return value.strip()
        return ""

    @property
    def is_chunked(self) -> bool:
        return "chunked" in self.header("transfer-encoding").lower()

    def body_size(self, method: str) -> int | None:
        """Return the length of an answer's body; None for one in chunks."""
        if method == "HEAD" or self.status in {204, 304}:
            return 0
        return None if self.is_chunked else int(self.header("content-length") or 0)


@dataclass
class Connection:
    """Both directions of one."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_unread: bool = False
    """The store has answered before it took the request's body."""

    async def copy_from(self, other: "Connection", size: int, *, over_s: float = 0) -> None:
        """Pass on so many bytes, in a given time."""
        piece = max(1, size // _SLOW_PIECES) if over_s else _PIECE
        left = size
        while left:
            data = await other.reader.read(min(piece, left))
            if not data:
                raise Gone
            left -= len(data)
            if over_s:
                # Before each piece: the last one must not arrive before the time is over.
                await asyncio.sleep(over_s * len(data) / size)
            self.writer.write(data)
            await self.writer.drain()

    async def copy_chunks_from(self, other: "Connection") -> None:
        """Pass on a body in chunks, with its trailers."""
        while True:
            line = await other.reader.readuntil(b"\r\n")
            self.writer.write(line)
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            await self.copy_from(other, size + 2)
        while (line := await other.reader.readuntil(b"\r\n")) != b"\r\n":
            self.writer.write(line)
        self.writer.write(b"\r\n")
        await self.writer.drain()

    async def copy_body_from(self, other: "Connection", head: Head) -> None:
        """Pass on the body of a request."""
        if head.is_chunked:
            await self.copy_chunks_from(other)
        else:
            await self.copy_from(other, int(head.header("content-length") or 0))

    async def skip_body(self, head: Head) -> None:
        """Read the body of a request and forget it."""
        await Connection(self.reader, _Nowhere()).copy_body_from(self, head)  # type: ignore[arg-type]


class _Nowhere:
    """Takes bytes and forgets them."""

    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass


async def read_head(connection: Connection) -> Head | None:
    """Return the head of the next message; None where the other side has ended."""
    try:
        return Head(await connection.reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None


async def forward_request(head: Head, client: Connection, store: Connection) -> Head:
    """Send a request on and return the head of its answer."""
    store.writer.write(head.raw)
    if head.header("expect"):
        answer = await _answer_head(store)
        if answer.status != 100:
            client.is_unread = True
            return answer
        client.writer.write(answer.raw)
    await store.copy_body_from(client, head)
    await store.writer.drain()
    while (answer := await _answer_head(store)).status < 200:
        client.writer.write(answer.raw)
    return answer


async def _answer_head(store: Connection) -> Head:
    head = await read_head(store)
    if head is None:
        raise Gone
    return head


def finished(writer: asyncio.StreamWriter) -> Gone:
    """End a connection such that what was sent arrives; an abort would throw it away."""
    writer.close()
    return Gone()


def aborted(writer: asyncio.StreamWriter) -> None:
    """Reset a connection, as a machine does that knows nothing of it any more."""
    if writer.is_closing():
        return
    found = writer.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
