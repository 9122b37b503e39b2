"""A gateway's end of the lanes: it finds the replicas of its node and shares its calls out."""

import asyncio
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

from aufleet.errors import NotReadyError
from aufleet.serving.lanes.messages import Kind, Messages
from aufleet.serving.lanes.places import folder_of, is_private

LOOK_S = 0.2
"""How often it is looked for new replicas."""
STALLED_S = 2.0
"""A replica with open calls that says nothing for this long is asked last."""


class Lanes:
    """The lanes of one node."""

    def __init__(self, folder: Path) -> None:
        """Begin to look for replicas.

        Args:
            folder: Of this node's lanes.
        """
        self._folder = folder
        self._open: dict[Path, _Lane] = {}
        self._looking = asyncio.create_task(self._look())

    def of(self, application: str, *, handle: Any, num_replicas: int, full: int) -> "LaneReplicas":  # noqa: ANN401 - Ray's handle
        """Return an application's replicas.

        Args:
            application: Its name.
            handle: Ray's, which finds all of them, wherever they are.
            num_replicas: How many there are on all nodes.
            full: Open calls of a lane from which on replicas of other nodes help.
        """
        place = folder_of(application, folder=self._folder)
        return LaneReplicas(self, place, handle=handle, num_replicas=num_replicas, full=full)

    def at(self, place: Path) -> "list[_Lane]":
        """Return the lanes of one application that take calls."""
        return [
            lane for path, lane in self._open.items() if path.parent == place and lane.takes_calls
        ]

    def close(self) -> None:
        """Look no further, and hang up once the open calls are answered."""
        self._looking.cancel()
        for lane in self._open.values():
            lane.leave()

    async def _look(self) -> None:
        # Whoever could put a socket there could make this process unpickle anything.
        while is_private(self._folder):
            self._open = {path: lane for path, lane in self._open.items() if not lane.is_over}
            for path in set(self._folder.glob("*/*")) - set(self._open):
                await self._connect(path)
            await asyncio.sleep(LOOK_S)

    async def _connect(self, path: Path) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            try:
                _, self._open[path] = await loop.create_unix_connection(_Lane, str(path))
            except ConnectionRefusedError:
                path.unlink()  # its process is dead


class LaneReplicas:
    """Stands for Ray's handle: each of its methods has a `remote` that starts a call."""

    def __init__(
        self,
        lanes: Lanes,
        place: Path,
        *,
        handle: Any,  # noqa: ANN401 - Ray's handle
        num_replicas: int,
        full: int,
    ) -> None:
        self._lanes, self._place, self._handle = lanes, place, handle
        self._num_replicas, self._full = num_replicas, full

    def __getattr__(self, name: str) -> "_Method":
        """Return a method of the replicas."""
        return _Method(self, name)

    def start(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:  # noqa: ANN401 - an answer under way
        """Start a call, on a lane where one takes it."""
        lane = self._pick()
        if lane is None:
            return getattr(self._handle, name).remote(*arguments, **named)
        return lane.start(name, arguments, named)

    def _pick(self) -> "_Lane | None":
        lanes = self._lanes.at(self._place)
        if not lanes:
            return None
        now = time.monotonic()
        best = lanes[0] if len(lanes) == 1 else min(lanes, key=lambda lane: lane.rank(now))
        if len(lanes) < self._num_replicas and best.num_open >= self._full:
            return None
        return best


class _Method:
    """One method of an application's replicas."""

    def __init__(self, replicas: LaneReplicas, name: str) -> None:
        self._replicas, self._name = replicas, name

    def remote(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as Ray's
        """Start a call; awaited, it gives the answer."""
        return self._replicas.start(self._name, arguments, named)


class _Lane(Messages):
    """A connection to one replica."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._last_number, self._heard_s = 0, time.monotonic()
        self._is_leaving = self.is_over = False

    @property
    def takes_calls(self) -> bool:
        """Whether new calls may go this way."""
        return not (self._is_leaving or self.is_over)

    @property
    def num_open(self) -> int:
        """Calls without an answer."""
        return len(self._answers)

    def rank(self, now: float) -> tuple[bool, int]:
        """Return what is least for the replica that should be asked first."""
        return bool(self._answers) and now - self._heard_s > STALLED_S, len(self._answers)

    def start(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> "LaneAnswer":
        """Send a call."""
        self._last_number += 1
        number = self._last_number
        if not self._answers:
            self._heard_s = time.monotonic()
        self.send(Kind.CALL, number, (name, arguments, named))
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        return LaneAnswer(self, number, answer)

    def drop(self, number: int) -> None:
        """Wait for a call's answer no longer."""
        if self._answers.pop(number, None) is not None:
            with suppress(OSError):
                self.send(Kind.CANCEL, number)
            self._hang_up_if_done()

    def leave(self) -> None:
        """Take no new calls, and hang up once the open ones are answered."""
        self._is_leaving = True
        self._hang_up_if_done()

    def received(self, kind: Kind, number: int, value: Any) -> None:  # noqa: ANN401 - any value
        """Take an answer, or hear that the replica is about to stop."""
        self._heard_s = time.monotonic()
        if kind is Kind.LEAVING:
            self.leave()
            return
        answer = self._answers.pop(number, None)
        if answer is not None and not answer.done():
            if kind is Kind.ANSWER:
                answer.set_result(value)
            else:
                answer.set_exception(value)
        self._hang_up_if_done()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the calls that will get no answer: their callers ask again."""
        self.is_over = True
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(
                    NotReadyError("a replica ended while it worked", "try again in a moment")
                )
        self._answers = {}

    def _hang_up_if_done(self) -> None:
        if self._is_leaving and not self._answers:
            self.close()


class LaneAnswer:
    """An answer under way."""

    def __init__(self, lane: _Lane, number: int, answer: "asyncio.Future[Any]") -> None:
        self._lane, self._number, self._answer = lane, number, answer

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for it."""
        return self._answer.__await__()

    def cancel(self) -> None:
        """Drop it, here and in the replica."""
        self._lane.drop(self._number)
