"""Runs verbs of this command line as processes of their own, for the demo."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from aufleet.cli.output import console
from aufleet.errors import EnvironmentProblem

START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 40


def run_verb(*arguments: str, quiet: bool = False) -> None:
    """Run one verb with this terminal and wait for it.

    Raises:
        EnvironmentProblem: The verb ended with an error; it has said why.
        KeyboardInterrupt: The verb was stopped by Ctrl-C.
    """
    if not quiet:
        console.print(f"[dim]     $ aufleet {' '.join(arguments)}[/]", soft_wrap=True)
    # A session of its own: the terminal's Ctrl-C reaches only us, and we pass it on exactly once.
    process = subprocess.Popen(
        _command(*arguments), stdout=subprocess.DEVNULL if quiet else None, start_new_session=True
    )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_TIMEOUT_S)
        raise
    if code:
        raise EnvironmentProblem(
            f"aufleet {arguments[0]} ended with exit code {code}", "its own words stand above"
        )


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "aufleet.cli", *arguments]


class Service:
    """`aufleet serve` in a session of its own, so that Ctrl-C reaches only the demo."""

    def __init__(self, home: Path, *, ready_file: Path) -> None:
        self._home, self._ready_file = home, ready_file
        self._log = home / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process's number, None before the start."""
        return self._process.pid if self._process else None

    def start(self, *arguments: str) -> None:
        """Start and wait until it answers.

        Raises:
            EnvironmentProblem: It ended or did not answer in time; its last line is shown.
        """
        arguments = ("serve", *arguments, "--ready-file", str(self._ready_file))
        console.print(f"[dim]     $ aufleet {' '.join(arguments)}[/]", soft_wrap=True)
        self._ready_file.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                _command(*arguments), stdout=log, stderr=log, start_new_session=True
            )
        _pid_file(self._home).write_text(str(self._process.pid))
        with console.status("waiting for the first answer"):
            self._await_ready()
        console.print(self._log.read_text().rstrip(), markup=False)

    def _await_ready(self) -> None:
        assert self._process
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._ready_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                lines = self._log.read_text(errors="replace").strip().splitlines()
                raise EnvironmentProblem(
                    f"the service did not start: {lines[-1] if lines else 'it said nothing'}",
                    f"the whole log lies in {self._log}",
                )
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop it and everything that it started."""
        if self._process:
            _stop(self._process.pid)
            self._process.wait()
        _pid_file(self._home).unlink(missing_ok=True)
        self._ready_file.unlink(missing_ok=True)


def stop_kept_service(home: Path) -> None:
    """Stop a service that an earlier demo left running on purpose."""
    file = _pid_file(home)
    if not file.exists():
        return
    pid = int(file.read_text())
    if _is_service(pid):
        console.print(f"[dim]stopping the service of an earlier demo (process {pid})[/]")
        _stop(pid)
    file.unlink()


def _pid_file(home: Path) -> Path:
    return home / "serve.pid"


def _is_service(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"aufleet.cli" in words and b"serve" in words


def _stop(pid: int) -> None:
    """Ask a service to stop, wait for it, and end it where it does not."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        while _is_service(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
