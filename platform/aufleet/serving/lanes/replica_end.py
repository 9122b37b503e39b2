"""A replica's end of its lanes: it answers the gateways of its node."""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from aufleet.serving.lanes.messages import Kind, Messages
from aufleet.serving.lanes.places import folder_of, is_private

logger = logging.getLogger(__name__)


async def open_lane(worker: object, *, application: str, folder: Path) -> "Lane | None":
    """Answer calls of a worker's methods; None where that cannot be, which costs only speed.

    Args:
        worker: Whose public methods, all of them coroutines, gateways call.
        application: Whose replica this is.
        folder: Of this node's lanes.
    """
    place = folder_of(application, folder=folder)
    lane = Lane(worker, place=place / str(os.getpid()))
    if not (is_private(folder) and is_private(place)):
        logger.warning("%s is reached through Ray alone: %s is not private", application, place)
        return None
    try:
        await lane.open()
    except OSError as error:
        logger.warning("%s is reached through Ray alone: %s", application, error)
        return None
    return lane


class Lane:
    """What gateways connect to."""

    def __init__(self, worker: object, *, place: Path) -> None:
        self._worker, self._place = worker, place
        self._server: asyncio.Server | None = None
        self._callers: set[_Caller] = set()

    async def open(self) -> None:
        """Listen.

        Raises:
            OSError: The place cannot be listened on.
        """
        self._place.unlink(missing_ok=True)  # of a process that had this one's number
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: _Caller(self._worker, among=self._callers), str(self._place)
        )

    async def close(self, *, grace_s: float) -> None:
        """Send new calls elsewhere, answer the open ones, and end.

        Args:
            grace_s: The longest time that open calls still have.
        """
        self._place.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        for caller in self._callers:
            caller.leave()
        # Gateways hang up as soon as their last answer is there.
        deadline = asyncio.get_running_loop().time() + grace_s
        while self._callers and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        for caller in tuple(self._callers):
            caller.close()


class _Caller(Messages):
    """A gateway, as a replica sees it."""

    def __init__(self, worker: object, *, among: "set[_Caller]") -> None:
        super().__init__()
        self._worker, self._among = worker, among
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it in."""
        super().connection_made(transport)
        self._among.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the work that nobody waits for any more."""
        self._among.discard(self)
        for task in self._tasks.values():
            task.cancel()

    def leave(self) -> None:
        """Send new calls elsewhere."""
        self.send(Kind.LEAVING, 0)

    def received(self, kind: Kind, number: int, value: Any) -> None:  # noqa: ANN401 - any value
        """Begin a call, or drop one."""
        if kind is Kind.CALL:
            method, arguments, named = value
            task = asyncio.create_task(self._answer(number, method, arguments, named))
            self._tasks[number] = task
        elif kind is Kind.CANCEL and number in self._tasks:
            self._tasks[number].cancel()

    async def _answer(
        self, number: int, method: str, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        try:
            answer = await getattr(self._worker, method)(*arguments, **named)
            self.send(Kind.ANSWER, number, answer)
        except Exception as error:
            self._send_error(number, error)
        finally:
            del self._tasks[number]

    def _send_error(self, number: int, error: Exception) -> None:
        with suppress(Exception):
            self.send(Kind.ERROR, number, error)
            return
        # An error that cannot travel still has to end the call.
        self.send(Kind.ERROR, number, RuntimeError(f"{type(error).__name__}: {error}"))
