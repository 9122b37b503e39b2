"""Answers drawn onto pictures and videos: box, landmarks, and a bar for each unit or grade."""

from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aufleet.cli.predict_rows import RESEARCH_USE, face_rows
from aufleet.errors import ConfigError, FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aufleet.client import Face, FrameResult

PANEL_PX = 330
"""Width of the panel beside the picture."""
ROW_PX = 26
MIN_HEIGHT_PX, MAX_SIDE_PX = 480, 1280
"""Smaller pictures are enlarged until their panel can be read, larger ones are made smaller."""
BAR_LEFT, BAR_RIGHT = 92, 268
ACTIVE, QUIET, TRACK = (133, 114, 11), (189, 181, 173), (245, 243, 241)
INK, DIM, POINT, WARNING = (41, 37, 33), (150, 142, 134), (232, 217, 102), (30, 90, 220)
"""BGR, as OpenCV draws."""

Pixels = NDArray[np.uint8]


def annotate(picture: Pixels, result: "FrameResult") -> Pixels:
    """Return the picture with its answer, (H, W, 3) uint8 BGR.

    Args:
        picture: (H, W, 3) uint8 BGR, as it was sent.
        result: Its answer.
    """
    import cv2

    height, width = picture.shape[:2]
    scale = min(max(1.0, MIN_HEIGHT_PX / height), MAX_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = np.asarray(
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC),
        dtype=np.uint8,
    )
    for face in result.faces:
        _draw_face(shown, face, scale=scale)
    # Even sides: video codecs ask for them.
    canvas_height = _even(max(size[1], MIN_HEIGHT_PX))
    canvas = np.full((canvas_height, _even(size[0] + PANEL_PX), 3), 255, dtype=np.uint8)
    canvas[: size[1], : size[0]] = shown
    _draw_panel(canvas[:, size[0] :], result)
    return canvas


def write_picture(encoded: bytes, result: "FrameResult", *, out: Path) -> None:
    """Draw an answer onto its picture and write that.

    Raises:
        FrameError: The picture cannot be read here.
        ConfigError: The file cannot be written.
    """
    import cv2

    from aufleet.data.decoding import decode_frame

    picture = annotate(np.ascontiguousarray(decode_frame(encoded)[..., ::-1]), result)
    out.parent.mkdir(parents=True, exist_ok=True)
    suffix = out.suffix.lower()
    done, drawn = cv2.imencode(suffix if suffix in {".jpg", ".jpeg"} else ".png", picture)
    if not done:
        raise FrameError(f"{out} cannot be drawn")
    try:
        out.write_bytes(drawn.tobytes())
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error


@contextmanager
def video_writer(out: Path, *, rate_hz: float) -> "Iterator[Callable[[Pixels, FrameResult], None]]":
    """Yield what draws an answer onto its frame and adds it to a video.

    Raises:
        ConfigError: The file cannot be written.
    """
    import cv2

    out.parent.mkdir(parents=True, exist_ok=True)
    writer: Any = None

    def add(picture: Pixels, result: "FrameResult") -> None:
        nonlocal writer
        drawn = annotate(picture, result)
        if writer is None:
            size = (drawn.shape[1], drawn.shape[0])
            writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), rate_hz, size)
            if not writer.isOpened():
                raise ConfigError(f"{out} cannot be written", "end its name with .mp4")
        writer.write(drawn)

    try:
        yield add
    finally:
        if writer is not None:
            writer.release()


def _draw_face(shown: Pixels, face: "Face", *, scale: float) -> None:
    import cv2

    box, colour = face.box, WARNING if face.ungradable_reason else (255, 255, 255)
    corner = (round(box.x * scale), round(box.y * scale))
    opposite = (round((box.x + box.width) * scale), round((box.y + box.height) * scale))
    cv2.rectangle(shown, corner, opposite, colour, 1, cv2.LINE_AA)
    radius = max(1, round(box.width * scale / 150))
    for x, y in face.landmarks:
        cv2.circle(shown, (round(x * scale), round(y * scale)), radius, POINT, -1, cv2.LINE_AA)


def _draw_panel(panel: NDArray[np.uint8], result: "FrameResult") -> None:
    face = next((face for face in result.faces if face.units or face.palsy), None)
    title = "Not judged"
    if face is not None:
        title = f"Grade: {face.palsy.grade}" if face.palsy else "Action units"
    _text(panel, title, at=(14, 30), size=0.62, colour=INK, thickness=2)
    _text(panel, _subtitle(result), at=(14, 52), size=0.42, colour=DIM)
    if result.status != "OK":
        words = " ".join(
            (result.status.lower().replace("_", " "), result.ungradable_reason.lower())
        )
        lines = [words.strip().upper(), *_wrapped(result.message, width=44)]
        for number, line in enumerate(lines):
            _text(panel, line, at=(14, 84 + 20 * number), size=0.44, colour=WARNING)
    rows = face_rows(face) if face is not None else []
    top = 84 if result.status == "OK" else 170
    space = (len(panel) - top - 40) / max(1, len(rows))
    step = min(float(ROW_PX), space)
    for number, row in enumerate(rows):
        _draw_row(panel, row, y=round(top + number * step), height=max(4, round(0.55 * step)))
    _text(panel, RESEARCH_USE, at=(14, len(panel) - 14), size=0.42, colour=DIM)


def _draw_row(panel: NDArray[np.uint8], row: Any, *, y: int, height: int) -> None:  # noqa: ANN401
    import cv2

    colour = INK if row.holds else DIM
    length = BAR_RIGHT - BAR_LEFT
    size = min(0.46, 0.034 * height)
    _text(panel, row.label, at=(14, y + height), size=size, colour=colour)
    cv2.rectangle(panel, (BAR_LEFT, y), (BAR_RIGHT, y + height), TRACK, -1)
    end = BAR_LEFT + round(length * row.probability)
    cv2.rectangle(panel, (BAR_LEFT, y), (end, y + height), ACTIVE if row.holds else QUIET, -1)
    if row.threshold is not None:
        x = BAR_LEFT + round(length * row.threshold)
        cv2.line(panel, (x, y - 2), (x, y + height + 2), INK, 1)
    _text(
        panel, f"{row.probability:.2f}", at=(BAR_RIGHT + 10, y + height), size=size, colour=colour
    )


def _subtitle(result: "FrameResult") -> str:
    who = f"{result.model} version {result.version}"
    return who if result.time_s is None else f"{who}, {result.time_s:.2f} s"


def _text(
    picture: NDArray[np.uint8],
    words: str,
    *,
    at: tuple[int, int],
    size: float,
    colour: tuple[int, int, int],
    thickness: int = 1,
) -> None:
    import cv2

    # OpenCV's letters are ASCII.
    plain = words.encode("ascii", "replace").decode()
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, plain, at, font, size, colour, thickness, cv2.LINE_AA)


def _wrapped(words: str, *, width: int) -> Iterable[str]:
    import textwrap

    return textwrap.wrap(words, width)[:4]


def _even(pixels: int) -> int:
    return pixels + pixels % 2
