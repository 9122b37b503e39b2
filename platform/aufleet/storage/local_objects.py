"""Objects in a local folder, with the same promises as S3: whole or absent, write-once."""

import contextlib
import os
import shutil
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

    def download(self, path: str, to: Path) -> None:
        """Copy a file."""
        try:
            shutil.copyfile(path, to)
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

    def listing(self, path: str) -> list[tuple[str, int, float]]:
        """Return path, size and time of all files below a folder; paths are relative to it."""
        return [found for found in _files_below(path) if not _is_unfinished(found[0])]

    def unfinished(self, path: str) -> list[tuple[str, int, float]]:
        """Return what processes left that ended while they wrote."""
        return [found for found in _files_below(path) if _is_unfinished(found[0])]

    def abandon(self, path: str, names: list[str]) -> None:
        """Remove unfinished files, and nothing else."""
        self.delete([f"{path}/{name}" for name in names if _is_unfinished(name)])

    def delete(self, paths: list[str]) -> None:
        """Delete files."""
        for path in paths:
            Path(path).unlink(missing_ok=True)


def _files_below(path: str) -> Iterator[tuple[str, int, float]]:
    folder = Path(path)
    for file in folder.rglob("*"):
        # A file may vanish between its name and its size.
        with contextlib.suppress(FileNotFoundError):
            if file.is_file():
                found = file.stat()
                yield file.relative_to(folder).as_posix(), found.st_size, found.st_mtime


def _is_unfinished(name: str) -> bool:
    return name.rpartition("/")[2].startswith(_UNFINISHED)


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
