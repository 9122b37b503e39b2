"""`aufleet ui`: MLflow's page over the runs of all searches."""

import os
import subprocess
import sys
import time
import urllib.request
from urllib.error import URLError

import typer

from aufleet.cli.output import console
from aufleet.errors import EnvironmentProblem

_START_TIMEOUT_S = 120


def command(
    port: int = typer.Option(0, "--port", min=0, max=65535, help="Port; 0 takes a free one."),
    host: str = typer.Option("127.0.0.1", "--host", help="Address; only this machine by default."),
) -> None:
    """Show the runs of all searches on MLflow's page, until Ctrl-C.

    Where AUFLEET_MLFLOW_URI names a tracking server, that server has the page already.

    Example: aufleet ui --port 5000
    """
    from aufleet.cli.orphans import no_orphans
    from aufleet.registry.mlflow_session import mlflow_uri, open_mlflow

    uri = mlflow_uri()
    if uri.startswith(("http://", "https://")):
        console.print(f"the tracking server's own page is {uri}", soft_wrap=True)
        return
    open_mlflow(uri)  # creates the tables, and says in one sentence what is wrong
    port = port or _free_port(host)
    with no_orphans():
        _serve(uri, host=host, port=port)


def _serve(uri: str, *, host: str, port: int) -> None:
    """Run MLflow's server until it ends or Ctrl-C."""
    arguments = ("server", "--backend-store-uri", uri, "--host", host, "--port", str(port))
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}
    # A session of its own: Ctrl-C reaches us, and we end it.
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *arguments, "--workers", "1"],
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with console.status("MLflow starts"):
            _await_answer(server, f"http://{host}:{port}/health")
        console.print(f"http://{host}:{port} shows the runs; Ctrl-C ends it", soft_wrap=True)
        server.wait()
    except KeyboardInterrupt:
        console.print("stopped")
    finally:
        server.terminate()


def _await_answer(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (URLError, OSError):
            if server.poll() is not None or time.monotonic() > deadline:
                raise EnvironmentProblem(
                    f"MLflow's page did not start at {url}", "is the port free? try another --port"
                ) from None
            time.sleep(0.3)


def _free_port(host: str) -> int:
    import socket

    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]
