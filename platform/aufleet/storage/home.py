"""Where this machine's own state lies, and which store everything else lies in."""

import json
import os
from pathlib import Path

from aufleet.errors import ConfigError

HOME_VARIABLE = "AUFLEET_HOME"
ROOT_VARIABLE = "AUFLEET_ROOT"
STATE_FILE = "store.json"
_AWS_FILES = ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")


def state_dir() -> Path:
    """Return `./.aufleet`, or the folder that AUFLEET_HOME names; made for its owner only."""
    folder = Path(os.environ.get(HOME_VARIABLE, ".aufleet")).resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def root_uri() -> str:
    """Return the URI below which data sets, experiments and models lie.

    AUFLEET_ROOT names it; without that it is the local store of this folder.

    Raises:
        ConfigError: There is neither.
    """
    if named := os.environ.get(ROOT_VARIABLE):
        return named.rstrip("/")
    state = _local_state()
    if state is None:
        raise ConfigError(
            "no object store is known here",
            f"run aufleet store start, or set {ROOT_VARIABLE} to s3://bucket/prefix or a folder",
        )
    use_running_store()
    return str(state["root"])


def use_running_store(folder: Path | None = None) -> None:
    """Point the AWS libraries at a state folder's local store, unless the caller chose another.

    Only the paths of two files enter the environment, never a secret: processes that are started
    later find them there.
    """
    state = _local_state(folder)
    if state is None or any(os.environ.get(name) for name in _AWS_FILES):
        return
    root = str(state["root"])
    chosen = os.environ.get(ROOT_VARIABLE) or root
    if f"{chosen}/".startswith(f"{root}/"):
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(state["credentials_file"])
        os.environ["AWS_CONFIG_FILE"] = str(state["config_file"])


def _local_state(folder: Path | None = None) -> dict | None:
    file = (folder or Path(os.environ.get(HOME_VARIABLE, ".aufleet"))) / STATE_FILE
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return None
