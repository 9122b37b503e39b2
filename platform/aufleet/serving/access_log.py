"""One JSON line per call: who, what, which code, how long; never a picture or a token.

Written by hand rather than through `logging`, which takes ten times as long for each call. Several
gateways of a machine may share a file: lines are appended whole, and whoever finds the file large
turns it over for all.
"""

import json
import os
import sys
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aufleet.serving.call import Call
from aufleet.serving.private_files import locked

MAX_BYTES = 20 * 2**20
NUM_OLD_FILES = 4
LOOK_EVERY = 100
"""Lines until the file is looked at again: is it large, has another process turned it over?"""


class AccessLog:
    """The log of a gateway."""

    def __init__(self, path: Path | None) -> None:
        """Open the log.

        Args:
            path: A file of mode 600, turned over when it is large; None for standard error.
        """
        self._path, self._num_lines, self._is_closed = path, 0, False
        self._descriptor: int | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = _open(path)

    def ended(self, call: Call, *, code: str) -> None:
        """Write the line of a call that has ended."""
        self._write(
            {
                "method": call.method,
                "code": code,
                "request_id": call.request_id,
                "caller": call.caller,
                "model": call.model,
                "ms": round(call.elapsed_ms, 2),
                "event": "call",
            }
        )

    def internal_error(self, call: Call, error: Exception) -> None:
        """Write what was our fault: the only place where the reason is to be read."""
        self._write(
            {
                "request_id": call.request_id,
                "event": "internal error",
                "level": "error",
                "exception": "".join(traceback.format_exception(error)),
            }
        )

    def handshake_refused(self, reason: str) -> None:
        """Write the line of a connection that never came to a call."""
        self._write({"event": "handshake refused", "reason": reason})

    def close(self) -> None:
        """Close the file; calls that end later no longer open it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._path = self._descriptor = None
        self._is_closed = True

    def _write(self, entry: dict[str, Any]) -> None:
        if self._is_closed:
            return
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = json.dumps(entry | {"timestamp": now}) + "\n"
        if self._path is None or self._descriptor is None:
            sys.stderr.write(line)
            return
        self._num_lines += 1
        if self._num_lines % LOOK_EVERY == 0:
            self._descriptor = _turned_over(self._path, self._descriptor)
        # A full disk must not end calls.
        with suppress(OSError):
            os.write(self._descriptor, line.encode())


def find_call(path: Path, *, request_id: str) -> dict[str, Any] | None:
    """Return the last logged call with a request id, or None.

    Args:
        path: The log; older files beside it are searched too.
        request_id: As the answer names it.
    """
    older = (path.with_name(f"{path.name}.{number}") for number in range(1, NUM_OLD_FILES + 1))
    for file in (path, *older):
        if file.is_file() and (calls := _calls_in(file, request_id=request_id)):
            return calls[-1]
    return None


def _calls_in(file: Path, *, request_id: str) -> list[dict[str, Any]]:
    # Most lines are of other requests: only what holds the id is parsed.
    with file.open() as lines:
        found = [json.loads(line) for line in lines if request_id in line]
    return [line for line in found if (line["event"], line["request_id"]) == ("call", request_id)]


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _turned_over(path: Path, descriptor: int) -> int:
    """Return the descriptor to go on with: another one where the file was turned over."""
    try:
        if os.fstat(descriptor).st_size >= MAX_BYTES:
            with locked(path.with_name(f".{path.name}.lock")):
                if path.stat().st_size >= MAX_BYTES:
                    _move_up(path)
        elif os.fstat(descriptor).st_nlink and path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
        new = _open(path)
    except FileNotFoundError:
        new = _open(path)
    except OSError:
        return descriptor
    os.close(descriptor)
    return new


def _move_up(path: Path) -> None:
    """Rename the file to .1, .1 to .2 and so on; the oldest is dropped."""
    for number in range(NUM_OLD_FILES - 1, 0, -1):
        with suppress(FileNotFoundError):
            path.with_name(f"{path.name}.{number}").rename(
                path.with_name(f"{path.name}.{number + 1}")
            )
    path.rename(path.with_name(f"{path.name}.1"))
