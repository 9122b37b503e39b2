"""The tree that an importer reads: a local folder, or a prefix of an object store."""

import os
import re
import tempfile
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aufleet.errors import DataError, ObjectMissingError
from aufleet.storage import Store, open_store, sha256_of

READERS = 8
READ_AHEAD = 16
"""Files that may wait in memory: an object store answers late, but many questions at once."""
_NO_DATA = re.compile(r"(^|/)(\.|~\$|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)
"""What operating systems leave in folders; hidden files begin with a dot."""
_Name = TypeVar("_Name", bound=Hashable)


@dataclass(frozen=True)
class Source:
    """A tree of files; holds where it lies and nothing else."""

    store: Store

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self.store.uri

    def files(self, folder: str = "") -> list[str]:
        """Return the paths of all files in a folder and below, sorted, relative to the source.

        Raises:
            DataError: A folder may not be read.
        """
        prefix = f"{folder.strip('/')}/" if folder else ""
        keys = self.store.keys(prefix) if self.is_remote else _walk(Path(self.uri), prefix)
        return [key for key in keys if not _NO_DATA.search(key)]

    def files_by(self, folder: str, *, name: Callable[[str], _Name | None]) -> dict[_Name, str]:
        """Return name -> path of the files in a folder and below.

        Args:
            folder: Where to look.
            name: Says what the file at a path is of; None leaves it out.

        Raises:
            DataError: Two files are of the same.
        """
        found: dict[_Name, str] = {}
        for path in self.files(folder):
            if (key := name(path)) is not None and found.setdefault(key, path) != path:
                raise DataError(
                    f"{self.where(path)} and {found[key]} are of the same", "remove one of them"
                )
        return found

    def read(self, path: str) -> bytes:
        """Return a file's bytes.

        Raises:
            ObjectMissingError: It is not there.
        """
        return self.store.read(path)

    def read_unchanged(self, path: str, *, sha256: str) -> bytes:
        """Return a file's bytes as they were when the import was planned.

        Raises:
            DataError: It was changed since.
        """
        data = self.read(path)
        if sha256_of(data) != sha256:
            raise DataError(
                f"{self.where(path)} was changed while it was imported", "repeat the command"
            )
        return data

    def read_all(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Return the bytes of some small files by path.

        Raises:
            ObjectMissingError: One is not there.
        """
        return {
            path: self.read(path) if data is None else data
            for path, data in zip(paths, self.read_ahead(paths), strict=True)
        }

    def read_ahead(self, paths: Sequence[str]) -> Iterator[bytes | None]:
        """Yield the bytes of each file in order, None for one that is not there.

        At most READ_AHEAD files are in memory.
        """
        if not self.is_remote:
            for path in paths:
                yield self._read_if_there(path)
            return
        pool = ThreadPoolExecutor(READERS)
        try:
            waiting: deque[Future[bytes | None]] = deque()
            for path in paths:
                waiting.append(pool.submit(self._read_if_there, path))
                if len(waiting) == READ_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    @contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """Give a file of this machine: the file itself, or a copy that is removed afterwards.

        Raises:
            ObjectMissingError: It is not there.
        """
        if not self.is_remote:
            if not (file := Path(self.store.uri, path)).is_file():
                raise ObjectMissingError(f"{file} is not there", "copy it from the release")
            yield file
            return
        with _nameless_file() as copy:
            self.store.download(path, to=copy)
            yield copy

    def where(self, path: str) -> str:
        """Name a file, for messages."""
        return self.store.uri_of(path)

    @property
    def is_remote(self) -> bool:
        """Whether files have to be fetched."""
        return "://" in self.store.uri

    def _read_if_there(self, path: str) -> bytes | None:
        try:
            return self.read(path)
        except ObjectMissingError:
            return None


@contextmanager
def _nameless_file() -> Iterator[Path]:
    """Give an empty file that no folder lists: even after SIGKILL no patient's video stays."""
    with tempfile.TemporaryFile() as file:
        path = Path("/proc/self/fd", str(file.fileno()))
        if path.exists():
            yield path
            return
    with tempfile.TemporaryDirectory(prefix="aufleet-import-") as folder:  # not Linux
        yield Path(folder, "video")


def _walk(root: Path, prefix: str) -> list[str]:
    """Return the files below a folder, also through links: labs link their large data."""
    found, seen = [], set()
    for folder, folders, names in os.walk(root / prefix, onerror=_refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back to where we come from
            folders.clear()
            continue
        seen.add(real)
        below = Path(folder).relative_to(root)
        found += [(below / name).as_posix() for name in names]
    return sorted(found)


def _refuse(error: OSError) -> None:
    """Refuse a folder that may not be read: its files would be missing without a word."""
    if not isinstance(error, FileNotFoundError):
        raise DataError(
            f"folder {error.filename} cannot be read ({error.strerror})",
            "let this user read it, or move it out of the source",
        )


def open_source(uri: str) -> Source:
    """Return the tree at a folder's path or an `s3://` prefix.

    Raises:
        ConfigError: The URI has another scheme.
        DataError: There is no such folder.
    """
    store = open_store(uri)
    if "://" not in store.uri and not Path(store.uri).is_dir():
        raise DataError(f"there is no folder {store.uri}", "name the folder of the release")
    return Source(store=store)
