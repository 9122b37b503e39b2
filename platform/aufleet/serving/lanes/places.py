"""Where lanes lie."""

import hashlib
import os
from pathlib import Path


def lanes_folder() -> Path:
    """Return the folder of all lanes of this node, in the session folder of this process's Ray."""
    from ray._private import worker

    node = worker._global_node
    assert node is not None, "Ray is running"
    return Path(node.get_session_dir_path()) / "lane"


def folder_of(application: str, *, folder: Path) -> Path:
    """Return the folder of an application's lanes; short, as sockets' paths have 107 bytes."""
    return folder / hashlib.sha256(application.encode()).hexdigest()[:8]


def is_private(folder: Path) -> bool:
    """Return whether a folder is this user's alone; it is made where it is missing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.stat()
    except OSError:
        return False
    return facts.st_uid == os.getuid() and not facts.st_mode & 0o077
