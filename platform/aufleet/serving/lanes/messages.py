"""Messages over a lane: a header, and a pickled value.

bytes of the value (uint32) | number of the call (uint64) | kind (uint8) | value
"""

import asyncio
import pickle
from enum import IntEnum
from struct import Struct
from typing import Any, cast

_HEADER = Struct("<IQB")


class Kind(IntEnum):
    """What a message says."""

    CALL = 0
    """(method, arguments, named arguments), from the gateway."""
    CANCEL = 1
    """Nobody waits for that call any more, from the gateway."""
    ANSWER = 2
    """What the method returned."""
    ERROR = 3
    """What it raised."""
    LEAVING = 4
    """The replica is about to stop: open calls are answered, new ones have to go elsewhere."""


class Messages(asyncio.Protocol):
    """One end of a lane."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None  # from the first moment on
        self._rest = bytearray()

    def received(self, kind: Kind, number: int, value: Any) -> None:  # noqa: ANN401 - any value
        """Take a message of the other end."""
        raise NotImplementedError

    def send(self, kind: Kind, number: int, value: object = None) -> None:
        """Send a message; nothing where the other end has gone.

        Raises:
            Exception: The value cannot be pickled; nothing was sent.
        """
        payload = pickle.dumps(value, protocol=5)
        if self._transport is not None and not self._transport.is_closing():
            header = _HEADER.pack(len(payload), number, kind)
            self._transport.write(header + payload)

    def close(self) -> None:
        """End the connection; what was sent still arrives."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # Not checked: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take what has come: parts of messages, or several."""
        self._rest += data
        begin, end = 0, len(self._rest)
        while end - begin >= _HEADER.size:
            size, number, kind = _HEADER.unpack_from(self._rest, begin)
            value_at = begin + _HEADER.size
            if end - value_at < size:
                break
            begin = value_at + size
            with memoryview(self._rest) as whole, whole[value_at:begin] as payload:
                value = pickle.loads(payload)
            self.received(Kind(kind), number, value)
        # Only what is done with: a large message comes in hundreds of pieces.
        del self._rest[:begin]
