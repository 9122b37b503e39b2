"""`Store`: everything that outlives a process is read and written through one of these."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aufleet.errors import ConfigError, ObjectCorruptError
from aufleet.storage.home import use_running_store
from aufleet.storage.local_objects import LocalObjects
from aufleet.storage.s3_objects import S3Objects


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """What a listing tells of an object."""

    key: str
    """Relative to the store that was asked."""
    size_bytes: int
    modified_s: float
    """When it was written, seconds since 1970 by the store's clock."""


class Objects(Protocol):
    """What a kind of store can do; a path holds no scheme."""

    def read(self, path: str) -> bytes:
        """Return an object's bytes."""
        ...

    def download(self, path: str, to: Path) -> None:
        """Write an object's bytes to a file, a part at a time."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Write an object whole."""
        ...

    def write_new(self, path: str, data: bytes) -> None:
        """Write an object that must not exist."""
        ...

    def exists(self, path: str) -> bool:
        """Return whether an object is there."""
        ...

    def listing(self, path: str) -> list[tuple[str, int, float]]:
        """Return path, size and time of all objects below a path; paths are relative to it."""
        ...

    def unfinished(self, path: str) -> list[tuple[str, int, float]]:
        """Return the same of writes that began and never ended; time is when they began."""
        ...

    def abandon(self, path: str, names: list[str]) -> None:
        """Remove unfinished writes."""
        ...

    def delete(self, paths: list[str]) -> None:
        """Delete objects; those that are not there are no error."""
        ...


def sha256_of(data: bytes) -> str:
    """Return the digest under which bytes are known, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def open_store(uri: str) -> "Store":
    """Return the store at a URI: `s3://bucket/prefix`, `file:///folder` or a folder's path.

    Credentials and the endpoint of S3 come from the standard AWS files and roles; where none are
    named, from the local store that runs on this machine.

    Raises:
        ConfigError: The URI has another scheme or names no bucket.
    """
    scheme, separator, rest = uri.rstrip("/").partition("://")
    if not separator:
        return Store(uri=str(Path(uri).resolve()))
    if scheme == "file":
        return Store(uri=rest)
    if scheme != "s3" or not rest:
        raise ConfigError(f"{uri!r} is not a store", "give s3://bucket/prefix or a local folder")
    use_running_store()
    return Store(uri=f"s3://{rest}")


@dataclass(frozen=True)
class Store:
    """A prefix of an object store.

    Holds its URI and nothing else, so that it can be sent to other processes without credentials.
    Keys are relative to the URI. Every method raises `StoreUnavailableError` where the store gives
    no answer within the deadline and `StoreCredentialsError` where it refuses the credentials.
    """

    uri: str

    def child(self, prefix: str) -> "Store":
        """Return the store below a prefix."""
        return Store(uri=self.uri_of(prefix.strip("/")))

    def uri_of(self, key: str) -> str:
        """Return the whole URI of a key."""
        return f"{self.uri}/{key}"

    def read(self, key: str) -> bytes:
        """Return an object's bytes.

        Raises:
            ObjectMissingError: It is not there.
        """
        return self._objects.read(self._path(key))

    def download(self, key: str, *, to: Path) -> None:
        """Write an object's bytes to a file of this machine; a few MiB of it are in memory.

        Raises:
            ObjectMissingError: It is not there.
            StoreError: It was replaced while it was read.
        """
        self._objects.download(self._path(key), to)

    def read_verified(self, key: str, *, sha256: str) -> bytes:
        """Return an object's bytes after comparing them with their digest.

        Raises:
            ObjectMissingError: It is not there.
            ObjectCorruptError: The bytes are others than those that were written.
        """
        data = self.read(key)
        if (found := sha256_of(data)) != sha256:
            raise ObjectCorruptError(
                f"{self.uri_of(key)} has sha256 {found[:12]} but {sha256[:12]} was written",
                "restore the object from a copy, or publish it again",
            )
        return data

    def write(self, key: str, data: bytes) -> None:
        """Write an object whole, in the place of an older one."""
        self._objects.write(self._path(key), data)

    def write_new(self, key: str, data: bytes) -> None:
        """Write an object that must not exist; of several writers exactly one succeeds.

        Raises:
            AlreadyExistsError: It is there already.
        """
        self._objects.write_new(self._path(key), data)

    def exists(self, key: str) -> bool:
        """Return whether an object of this key is there; a prefix is no object."""
        return self._objects.exists(self._path(key))

    def keys(self, prefix: str = "") -> list[str]:
        """Return the sorted keys of all objects that begin with the prefix."""
        return [stored.key for stored in self.entries(prefix)]

    def entries(self, prefix: str = "") -> list[StoredObject]:
        """Return all objects whose keys begin with the prefix, sorted by key."""
        folder, _, start = prefix.rpartition("/")
        base = self._path(folder) if folder else self._path("").rstrip("/")
        found = (
            StoredObject(
                key=f"{folder}/{name}" if folder else name, size_bytes=size, modified_s=modified
            )
            for name, size, modified in self._objects.listing(base)
            if name.startswith(start)
        )
        return sorted(found, key=lambda stored: stored.key)

    def unfinished(self) -> list[StoredObject]:
        """Return the writes that began and never ended, such as those of a killed process.

        No reader sees them, but they take room. Their keys are for `abandon` alone.
        """
        found = self._objects.unfinished(self._path("").rstrip("/"))
        return [
            StoredObject(key=name, size_bytes=size, modified_s=modified)
            for name, size, modified in sorted(found)
        ]

    def abandon(self, unfinished: Sequence[StoredObject]) -> None:
        """Remove unfinished writes; one that has ended meanwhile is left alone."""
        names = [stored.key for stored in unfinished]
        self._objects.abandon(self._path("").rstrip("/"), names)

    def delete(self, *keys: str) -> None:
        """Delete objects; one that is not there is no error."""
        self._objects.delete([self._path(key) for key in keys])

    def delete_below(self, prefix: str) -> int:
        """Delete every object below `prefix/` and return how many there were."""
        keys = self.keys(f"{prefix.rstrip('/')}/")
        self._objects.delete([self._path(key) for key in keys])
        return len(keys)

    @property
    def _objects(self) -> Objects:
        return S3Objects() if self.uri.startswith("s3://") else LocalObjects()

    def _path(self, key: str) -> str:
        return f"{self.uri.removeprefix('s3://')}/{key}"
