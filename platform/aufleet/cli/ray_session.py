"""One machine's own Ray cluster for the length of a command, or a cluster that runs already.

Ray's services listen on all interfaces and unpickle what they get, so token authentication is on
with a random token, always. Nothing is left behind: no process, no file.
"""

import gc
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from aufleet.errors import ConfigError, EnvironmentProblem

ADDRESS_VARIABLE = "RAY_ADDRESS"
_SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
)
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}
_OBJECT_STORE_BYTES = 200 * 1024 * 1024
_NUM_STARTS = 2


@contextmanager
def ray_session(*, num_cpus: int | None = None, dashboard: bool = False) -> Iterator[None]:
    """Start Ray, and stop it and everything it started at the end, also after Ctrl-C.

    Args:
        num_cpus: CPUs that Ray may hand out; None takes the machine's.
        dashboard: Start the dashboard, on loopback and a free port.

    Raises:
        ConfigError: Credentials stand in the environment, where Ray would log them.
        EnvironmentProblem: Ray does not start.
    """
    refuse_secrets()
    import ray

    if os.environ.get(ADDRESS_VARIABLE):
        # The cluster's own token and settings hold; it goes on running after us.
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
        try:
            with _exit_on_sigterm():
                yield
        finally:
            ray.shutdown()
        return
    _use_random_token()
    # Short, and not below $TMPDIR: Ray's sockets have paths of at most 107 bytes.
    folder = tempfile.mkdtemp(prefix=f"aufleet-{os.getpid()}-", dir="/tmp")
    try:
        _start(
            num_cpus=num_cpus,
            include_dashboard=dashboard,
            dashboard_host="127.0.0.1",
            _temp_dir=folder,
        )
        with _exit_on_sigterm():
            yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program as Ctrl-C does; Ray's own handler dies with a stack trace.

    The handler raises KeyboardInterrupt: where Ray waits it lets that through, while it makes exit
    code 1 of a SystemExit of any code.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        if received:
            sys.exit(128 + received[0])
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def refuse_secrets() -> None:
    """Raise where the environment holds AWS credentials.

    Tune copies them into each actor's runtime environment, which Ray writes to its logs.

    Raises:
        ConfigError: They are there; names the way without them.
    """
    found = [name for name in _SECRETS if os.environ.get(name)]
    if found:
        raise ConfigError(
            f"{found[0]} is set, and Ray would write it to its logs",
            "put the credentials in a file, name it in AWS_SHARED_CREDENTIALS_FILE, "
            f"and unset {' '.join(found)}",
        )


def _start(**settings: Any) -> None:  # noqa: ANN401 - arguments of ray.init
    """Start Ray; once more where it was not there within its half a minute: a busy machine."""
    import psutil
    import ray

    this, reason = psutil.Process(), ""
    for _ in range(_NUM_STARTS):
        before = set(this.children(recursive=True))
        try:
            with _free_agent_port():
                ray.init(
                    address="local",
                    object_store_memory=_OBJECT_STORE_BYTES,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    **settings,
                )
            return
        except Exception as error:  # Ray raises a bare one
            reason = str(error).partition("\n")[0]
            for started in set(this.children(recursive=True)) - before:
                started.kill()
        with warnings.catch_warnings():
            # Ray's handles of these processes complain that nobody waited for them.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    raise EnvironmentProblem(f"Ray does not start ({reason})", "is the machine very busy?")


@contextmanager
def _free_agent_port() -> Iterator[None]:
    """Let Ray's node agent listen on a free port, which `ray.init` has no argument for.

    On its fixed one, a second session on the machine tries in vain for seconds, and starts late.
    """
    from ray._private import parameter

    original = parameter.RayParams
    parameter.RayParams = partial(original, dashboard_agent_listen_port=None)
    try:
        yield
    finally:
        parameter.RayParams = original


def _use_random_token() -> None:
    """Turn token authentication on for this process and what it starts."""
    from ray import _raylet

    os.environ.update(_SETTINGS, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    # Ray read these variables when it was imported, and remembers what it found.
    vars(_raylet)["Config"].initialize("")
    vars(_raylet)["AuthenticationTokenLoader"].instance().reset_cache()
