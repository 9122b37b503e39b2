"""Where answers go beside the terminal: tables, drawn pictures, drawn videos."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from aufleet.cli.predict_records import CsvWriter, line_of
from aufleet.cli.predict_sources import PICTURES, STANDARD_INPUT, Source
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    from aufleet.client import FrameResult

TABLES = frozenset({".jsonl", ".csv"})
DRAWN_VIDEO = ".mp4"


class Output(Protocol):
    """Takes answers in the order of the sources and their frames."""

    def add(self, source: Source, result: "FrameResult") -> None:
        """Write one."""
        ...

    def close(self) -> None:
        """Finish what was written."""
        ...


class Outputs:
    """All of them."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._outputs = outputs

    def add(self, source: Source, result: "FrameResult") -> None:
        """Give an answer to each."""
        for output in self._outputs:
            output.add(source, result)


@contextmanager
def open_outputs(
    outs: Sequence[Path], sources: Sequence[Source], *, form: str, rate_hz: float | None
) -> Iterator[Outputs]:
    """Open what `--out` and `--format` name; checked before anything is asked.

    Raises:
        ConfigError: An ending does not fit the sources, or a file cannot be written.
    """
    for out in outs:
        _check(out, sources)
    with ExitStack() as stack:
        opened: list[Output] = []
        for kind in [form] if form in {"jsonl", "csv"} else []:
            opened.append(_table(sys.stdout, kind))
        for out in outs:
            if out.suffix.lower() in TABLES:
                file = stack.enter_context(_open(out))
                opened.append(_table(file, out.suffix.lower()[1:]))
            else:
                opened.append(Drawings(out, rate_hz=rate_hz))
        try:
            yield Outputs(opened)
        finally:
            for output in opened:
                output.close()


class JsonLines:
    """A line of JSON per frame."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, source: Source, result: "FrameResult") -> None:
        """Write one; at once, so that a reader at the other end of a pipe sees it."""
        self._file.write(line_of(source.name, result) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Nothing is left."""


class Drawings:
    """Pictures and videos with their answers drawn."""

    def __init__(self, out: Path, *, rate_hz: float | None) -> None:
        """Begin with nothing.

        Args:
            out: A file for the one source, or a folder for all.
            rate_hz: As the videos were asked about.
        """
        self._out, self._rate_hz = out, rate_hz
        self._video: _DrawnVideo | None = None

    def add(self, source: Source, result: "FrameResult") -> None:
        """Draw one answer; what is no picture is left out."""
        from aufleet.cli.predict_drawing import write_picture

        if self._video is not None and self._video.source is not source:
            self.close()
        if source.is_video:
            if self._video is None:
                self._video = _DrawnVideo(source, self._path_of(source), rate_hz=self._rate_hz)
            self._video.add(result)
        elif result.status not in {"NOT_AN_IMAGE", "TOO_MANY_PIXELS"}:
            write_picture(source.read(), result, out=self._path_of(source))

    def close(self) -> None:
        """Finish a video."""
        video, self._video = self._video, None
        if video is not None:
            video.close()

    def _path_of(self, source: Source) -> Path:
        if self._out.suffix.lower() in PICTURES | {DRAWN_VIDEO}:
            return self._out
        # The whole path, so that a.jpg of two folders are two drawings.
        parts = [part for part in Path(source.name).with_suffix("").parts if part.strip("./\\")]
        stem = "stdin" if source.name == STANDARD_INPUT else "-".join(parts)
        return self._out / f"{stem}-answer{DRAWN_VIDEO if source.is_video else '.png'}"


class _DrawnVideo:
    """Reads a video a second time, beside its answers, and draws them."""

    def __init__(self, source: Source, out: Path, *, rate_hz: float | None) -> None:
        from aufleet.cli.predict_drawing import video_writer
        from aufleet.client.video import Video

        self.source = source
        video = Video(source.content, max_rate_hz=rate_hz)
        self._pictures = video.pictures()
        self._stack = ExitStack()
        shown_hz = min(video.rate_hz, rate_hz or video.rate_hz)
        self._write = self._stack.enter_context(video_writer(out, rate_hz=shown_hz))

    def add(self, result: "FrameResult") -> None:
        time_s, picture = next(self._pictures)
        if time_s != result.time_s:
            raise ConfigError(
                f"{self.source.name} changed while it was read: {result.time_s} s was answered "
                f"and {time_s} s is next"
            )
        self._write(picture, result)

    def close(self) -> None:
        self._pictures.close()
        self._stack.close()


def _table(file: TextIO, kind: str) -> Output:
    return JsonLines(file) if kind == "jsonl" else CsvWriter(file)


def _check(out: Path, sources: Sequence[Source]) -> None:
    suffix = out.suffix.lower()
    if suffix in TABLES or (suffix not in PICTURES | {DRAWN_VIDEO} and not out.is_file()):
        return
    kind = "video" if suffix == DRAWN_VIDEO else "picture"
    if suffix not in PICTURES | {DRAWN_VIDEO}:
        raise ConfigError(
            f"--out {out} is a file that cannot be written so",
            "end the name with .jsonl, .csv, .png, .jpg or .mp4, or name a folder",
        )
    if len(sources) > 1 or sources[0].is_video != (kind == "video"):
        raise ConfigError(
            f"--out {out} takes one {kind}", "name a folder, in which each source has its own file"
        )


@contextmanager
def _open(out: Path) -> Iterator[TextIO]:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.open("w", newline="")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error
    with file:
        yield file
