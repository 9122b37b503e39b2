"""What was downloaded once, for every process of this node: a folder of shards with a limit."""

import contextlib
import errno
import fcntl
import logging
import mmap
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aufleet.data.shard import FORMAT, Shard, read_shard
from aufleet.errors import ConfigError, ObjectCorruptError

FOLDER_VARIABLE = "AUFLEET_CACHE_DIR"
LIMIT_VARIABLE = "AUFLEET_CACHE_GB"
PATIENCE_S = 120.0
"""How long a process waits for another one's download before it reads by itself."""
_SHARDS = "*.shard"
_UNFINISHED = ".unfinished-"
_YOUNG_S = 60
_log = logging.getLogger(__name__)
_said: set[str] = set()


@dataclass(frozen=True, kw_only=True)
class NodeCache:
    """A folder of this node; small, so that it may travel to other processes.

    A shard that a process has open is locked by the kernel until the process lets go of it or
    dies; only the others make room, the one that was opened longest ago first. What cannot be
    kept is said once and read from the store.
    """

    folder: Path
    limit_bytes: int | None = None
    """Of all shards together; None for half of what the disk could give them."""
    patience_s: float = PATIENCE_S

    def open(self, digest: str, *, source: str, load: Callable[[], bytes]) -> Shard:
        """Return a shard, from the folder or else loaded and put there.

        However many processes ask at once, one loads.

        Args:
            digest: sha256 of the partition.
            source: Its URI, for errors.
            load: Returns the packed bytes.
        """
        path = self.folder / f"{digest}.v{FORMAT}.shard"
        if shard := self._mapped(path, source):
            return shard
        with self._alone(path) as alone:
            if alone and (shard := self._mapped(path, source)):
                return shard
            data = load()
            if alone and self._keep(path, data) and (shard := self._mapped(path, source)):
                return shard
        return read_shard(data, source=source)

    def discard(self, shard: Shard) -> None:
        """Remove a damaged shard's file: the next one to ask loads it anew."""
        if shard.file:
            shard.file.unlink(missing_ok=True)

    def _mapped(self, path: Path, source: str) -> Shard | None:
        """Return the shard in a file, locked against removal as long as it is in use."""
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                if not os.fstat(file.fileno()).st_nlink:
                    return None
                os.utime(file.fileno())
                # The mapping keeps the file open by a duplicate, and so the lock.
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return read_shard(data, source=source, file=path)
        except (ObjectCorruptError, ValueError):
            # The cache is never the truth.
            path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
                self._complain(f"cannot be read ({error.strerror})")
        return None

    @contextlib.contextmanager
    def _alone(self, path: Path) -> Iterator[bool]:
        """Wait until nobody else loads this shard; False where that takes too long."""
        lock = path.with_suffix(".lock")
        deadline = time.monotonic() + self.patience_s
        try:
            self._make_folder()
            descriptor = _locked(lock, deadline=deadline)
        except OSError as error:
            self._complain(f"cannot be used ({error.strerror})")
            descriptor = None
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                # Removed while it is held: who waits for it sees that and takes the next one.
                lock.unlink(missing_ok=True)
                os.close(descriptor)

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.folder.stat().st_uid != os.getuid():
            # In a folder for all users anybody may take a name first.
            raise PermissionError(errno.EPERM, "it belongs to another user")

    def _keep(self, path: Path, data: bytes) -> bool:
        """Write a file whole or not at all; return whether it is there."""
        unfinished = path.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}")
        try:
            with unfinished.open("wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                with (self.folder / "room.lock").open("w") as room:
                    fcntl.flock(room, fcntl.LOCK_EX)
                    if not self._make_room(len(data)):
                        return False
                    unfinished.replace(path)
        except OSError as error:
            self._complain(f"cannot be written ({error.strerror})")
            return False
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
        return True

    def _make_room(self, size_bytes: int) -> bool:
        """Remove what nobody uses, oldest first, until so much fits within the limit."""
        for left in self.folder.glob(f"{_UNFINISHED}*"):
            # A young one may not be locked yet by its writer.
            if time.time() - _opened_at(left)[0] > _YOUNG_S:
                _remove_unused(left)
        found = sorted((_opened_at(path), path) for path in self.folder.glob(_SHARDS))
        used = sum(size for (_, size), _ in found)
        limit = self.limit_bytes
        if limit is None:
            # What is being written counts as free: it is going to be used.
            limit = (used + size_bytes + shutil.disk_usage(self.folder).free) // 2
        for (_, size), path in found:
            if used + size_bytes <= limit:
                break
            if _remove_unused(path):
                used -= size
        if used + size_bytes > limit:
            self._complain(f"is full: running trials use {used / 1e9:.3g} of {limit / 1e9:.3g} GB")
            return False
        return True

    def _complain(self, what: str) -> None:
        text = f"the cache {self.folder} {what}"
        if text not in _said:
            _said.add(text)
            _log.warning("%s: frames are read from the store", text)


def node_cache() -> NodeCache | None:
    """Return this node's cache as the environment names it, None where its limit is 0.

    Raises:
        ConfigError: The limit is no number.
    """
    limit = os.environ.get(LIMIT_VARIABLE)
    try:
        limit_bytes = None if limit is None else int(float(limit) * 1e9)
    except ValueError as error:
        raise ConfigError(f"{LIMIT_VARIABLE}={limit} is no number", "give gigabytes") from error
    if limit_bytes is not None and limit_bytes <= 0:
        return None
    default = Path(tempfile.gettempdir()) / f"aufleet-cache-{os.getuid()}"
    folder = Path(os.environ.get(FOLDER_VARIABLE) or default)
    return NodeCache(folder=folder.resolve(), limit_bytes=limit_bytes)


def _locked(lock: Path, *, deadline: float) -> int | None:
    """Return the descriptor of a file that this process alone has locked, None after the time."""
    pause_s = 0.01
    while time.monotonic() < deadline:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)
            continue
        except BlockingIOError:
            os.close(descriptor)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.2)
    return None


def _remove_unused(path: Path) -> bool:
    """Remove a file unless a process holds it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


def _opened_at(path: Path) -> tuple[float, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0.0, 0
    return found.st_mtime, found.st_size
