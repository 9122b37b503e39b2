"""TLS handshakes that end in a refusal: an expired certificate, none at all, a client without TLS.

They reach no interceptor and no service. gRPC tells of them in one place only, a line on standard
error, so that is listened to; every other line goes on to where it went before.
"""

import fcntl
import logging
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger(__name__)

SILENT = ("NONE", "ERROR")
"""Values of GRPC_VERBOSITY with which gRPC tells nothing; it reads them when it is imported."""
STDERR = 2
PIPE_BYTES = 2**20
"""Room for what is written faster than it is read: nobody should have to wait for that."""
END_S = 1.0
_REFUSED = re.compile(rb"Handshake failed with .*?(SSL_ERROR_\w+)(?:: error:\w+:[\w ]+:\w+:(\w+))?")
"""What BoringSSL says of it: kind, then library, function and reason where it knows one."""


class RefusedHandshakes:
    """Listens to this process's standard error, in a thread of its own."""

    def __init__(self, on_refused: Callable[[str], object]) -> None:
        """Begin to listen.

        Args:
            on_refused: Told the reason in BoringSSL's words, "certificate verify failed"; called
                in the thread.
        """
        verbosity = os.environ.get("GRPC_VERBOSITY", "")
        if verbosity.upper() in SILENT:
            logger.warning(
                "refused TLS handshakes are neither counted nor logged, because GRPC_VERBOSITY "
                "is %s: unset it where gateways run",
                verbosity,
            )
        self._on_refused = on_refused
        self._stderr = os.dup(STDERR)
        reader, writer = os.pipe()
        with suppress(OSError):  # the user's pipes are as large as they may be
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.dup2(writer, STDERR)
        os.close(writer)
        self._thread = threading.Thread(target=self._listen, args=(reader,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give standard error back."""
        os.dup2(self._stderr, STDERR)  # the pipe's last writer is gone: the thread ends
        self._thread.join(END_S)
        os.close(self._stderr)

    def _listen(self, reader: int) -> None:
        with open(reader, "rb") as lines:
            for line in lines:
                if found := _REFUSED.search(line):
                    reason: bytes = found[2] or found[1]
                    self._on_refused(reason.decode().lower().replace("_", " "))
                else:
                    with suppress(OSError):  # a full disk must not end the listening
                        os.write(self._stderr, line)
