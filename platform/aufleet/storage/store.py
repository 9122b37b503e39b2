"""`Store`: everything that outlives a process is read and written through one of these."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aufleet.errors import ConfigError, ObjectCorruptError
from aufleet.storage.home import use_running_store
from aufleet.storage.local_objects import LocalObjects
from aufleet.storage.s3_objects import S3Objects


class Objects(Protocol):
    """What a kind of store can do; a path holds no scheme."""

    def read(self, path: str) -> bytes:
        """Return an object's bytes."""
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

    def listing(self, path: str) -> list[str]:
        """Return the paths of all objects below a path, relative to it."""
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
        folder, _, start = prefix.rpartition("/")
        base = self._path(folder) if folder else self._path("").rstrip("/")
        found = self._objects.listing(base)
        keys = [f"{folder}/{name}" if folder else name for name in found if name.startswith(start)]
        return sorted(keys)

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""
        self._objects.delete([self._path(key)])

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
