"""Objects in a local folder, with the same promises as S3: whole or absent, write-once."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from aufleet.errors import AlreadyExistsError, ObjectMissingError, StoreError

_UNFINISHED = ".unfinished-"


class LocalObjects:
    """Reads and writes files whole: each is written under another name and then linked."""

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        try:
            return Path(path).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ObjectMissingError(
                f"{path} is not there", "check the path, or make it again"
            ) from error
        except OSError as error:
            raise StoreError(f"reading {path} failed: {error.strerror}") from error

    def write(self, path: str, data: bytes) -> None:
        """Replace a file in one step."""
        with _unfinished(path, data) as unfinished:
            os.replace(unfinished, path)

    def write_new(self, path: str, data: bytes) -> None:
        """Create a file; a hard link fails where the name is taken, also between processes."""
        with _unfinished(path, data) as unfinished:
            try:
                os.link(unfinished, path)
            except FileExistsError as error:
                raise AlreadyExistsError(f"{path} is there already") from error

    def exists(self, path: str) -> bool:
        """Return whether a file is there."""
        return Path(path).is_file()

    def listing(self, path: str) -> list[str]:
        """Return the paths of all files below a folder, relative to it."""
        folder = Path(path)
        return [
            file.relative_to(folder).as_posix()
            for file in folder.rglob("*")
            if file.is_file() and not file.name.startswith(_UNFINISHED)
        ]

    def delete(self, paths: list[str]) -> None:
        """Delete files."""
        for path in paths:
            Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def _unfinished(path: str, data: bytes) -> Iterator[Path]:
    target = Path(path)
    unfinished = target.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data)
        yield unfinished
    except OSError as error:
        raise StoreError(f"writing {path} failed: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
