"""One JSON line per call: who, what, which code, how long; never a picture or a token."""

import json
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog

from aufleet.serving.call import Call

MAX_BYTES = 20 * 2**20
NUM_OLD_FILES = 4


class AccessLog:
    """The log of a gateway."""

    def __init__(self, path: Path | None) -> None:
        """Open the log.

        Args:
            path: A file of mode 600, rotated when it is large; None for standard error.
        """
        self._handler = _open(path)
        # Not from the table of loggers: a second gateway in the process has its own.
        lines = logging.Logger("aufleet.access", level=logging.INFO)
        lines.addHandler(self._handler)
        self._lines = lines
        self._log = structlog.wrap_logger(
            lines,
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.BoundLogger,
        )

    def ended(self, call: Call, *, code: str) -> None:
        """Write the line of a call that has ended."""
        self._log.info(
            "call",
            method=call.method,
            code=code,
            request_id=call.request_id,
            caller=call.caller,
            model=call.model,
            ms=round(call.elapsed_ms, 2),
        )

    def internal_error(self, call: Call, error: Exception) -> None:
        """Write what was our fault: the only place where the reason is to be read."""
        self._log.error("internal error", request_id=call.request_id, exc_info=error)

    def close(self) -> None:
        """Close the file; calls that end later no longer open it again."""
        self._lines.removeHandler(self._handler)
        self._handler.close()


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


def _open(path: Path | None) -> logging.Handler:
    if path is None:
        return logging.StreamHandler(sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    return RotatingFileHandler(path, maxBytes=MAX_BYTES, backupCount=NUM_OLD_FILES)
