"""What the arguments of `aufleet predict` name: pictures, videos, folders, standard input."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aufleet.errors import ConfigError

PICTURES = frozenset({".jpg", ".jpeg", ".png"})
VIDEOS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
STANDARD_INPUT = "-"
MAX_INPUT_BYTES = 2**30
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One picture or video.

    Attributes:
        name: As it is shown: the path, or "-".
        content: A path, or the bytes of standard input.
        is_video: It is no picture.
    """

    name: str
    content: Path | bytes
    is_video: bool

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            ConfigError: The file cannot be read.
        """
        if isinstance(self.content, bytes):
            return self.content
        try:
            return self.content.read_bytes()
        except OSError as error:
            raise ConfigError(f"{self.name} cannot be read: {error.strerror}") from error


def find_sources(names: Sequence[Path]) -> list[Source]:
    """Return what the arguments name, in their order; of a folder all below it, by name.

    Raises:
        ConfigError: One is not there, a folder holds neither pictures nor videos, or standard
            input is empty, too large or named twice.
    """
    if [str(name) for name in names].count(STANDARD_INPUT) > 1:
        raise ConfigError("- is named twice", "standard input can be read once")
    return [source for name in names for source in _sources_of(name)]


def _sources_of(name: Path) -> Iterator[Source]:
    if str(name) == STANDARD_INPUT:
        yield _standard_input()
    elif name.is_dir():
        files = sorted(file for file in name.rglob("*") if _is_known(file))
        if not files:
            raise ConfigError(
                f"{name} holds neither pictures nor videos",
                f"known endings are {' '.join(sorted(PICTURES | VIDEOS))}",
            )
        yield from (_file(file) for file in files)
    elif name.is_file():
        yield _file(name)
    else:
        raise ConfigError(f"{name} cannot be read: there is no such file or folder")


def _is_known(file: Path) -> bool:
    return file.suffix.lower() in PICTURES | VIDEOS and file.is_file()


def _file(file: Path) -> Source:
    suffix = file.suffix.lower()
    is_video = suffix in VIDEOS
    if suffix not in PICTURES | VIDEOS:
        with file.open("rb") as opened:
            is_video = not opened.read(16).startswith(_MAGIC)
    return Source(name=str(file), content=file, is_video=is_video)


def _standard_input() -> Source:
    if sys.stdin.isatty():
        raise ConfigError("- reads standard input, which is this terminal", "pipe a file into it")
    content = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    if not content:
        raise ConfigError("standard input is empty", "pipe a picture or a video into it")
    if len(content) > MAX_INPUT_BYTES:
        raise ConfigError("standard input has more than 1 GiB", "name the file instead of -")
    return Source(name=STANDARD_INPUT, content=content, is_video=not content.startswith(_MAGIC))
