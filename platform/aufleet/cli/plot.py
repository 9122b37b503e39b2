"""The picture of an answer: box, the 49 landmarks, and a bar for each unit or grade."""

from pathlib import Path
from typing import TYPE_CHECKING

from aufleet.cli.predict_rows import RESEARCH_USE, face_rows

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from aufleet.client import Box, Face, FrameResult

ACTIVE, QUIET, TRACK, INK, DIM = "#0b7285", "#adb5bd", "#f1f3f5", "#212529", "#868e96"
POINT = "#66d9e8"
LABELS_X, NAMES_X = -0.82, -0.58
"""Where the two columns of words begin, in lengths of a full bar."""
MIN_ROWS = 9
"""Few bars are as thick as many."""
SURROUNDINGS = 0.9
"""What is shown around the faces, in sizes of the largest."""


def plot_answer(encoded: bytes, result: "FrameResult", *, out: Path) -> None:
    """Draw the faces on the left and the largest face's probabilities on the right.

    Args:
        encoded: The picture that was sent.
        result: Its answer.
        out: The PNG file to write.

    Raises:
        FrameError: The picture cannot be read here.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from aufleet.data.faces import decode_frame

    figure = Figure(figsize=(11, 5.4), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    photo = figure.add_axes((0.02, 0.09, 0.42, 0.87))
    bars = figure.add_axes((0.49, 0.09, 0.49, 0.87))
    _draw_photo(photo, decode_frame(encoded), result)
    if result.faces:
        _draw_bars(bars, result.faces[0])
    else:
        words = result.message or result.status.lower().replace("_", " ")
        bars.text(0.5, 0.5, words, ha="center", va="center", wrap=True, fontsize=12, color=INK)
    bars.set_axis_off()
    figure.text(0.02, 0.025, f"{result.model} version {result.version}", fontsize=9, color=DIM)
    figure.text(0.98, 0.025, RESEARCH_USE, ha="right", fontsize=9, color=DIM)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, format="png")


def _draw_photo(axes: "Axes", pixels: "NDArray[np.uint8]", result: "FrameResult") -> None:
    from matplotlib.patches import Rectangle

    axes.set_axis_off()
    axes.set_anchor("C")
    # Only what is shown is drawn: a photo may have 50 megapixels.
    left, top, right, bottom = _window([face.box for face in result.faces], pixels.shape)
    shown = pixels[top:bottom, left:right]
    axes.imshow(shown, extent=(left, right, bottom, top), interpolation="antialiased")
    for face in result.faces:
        box = face.box
        axes.add_patch(
            Rectangle((box.x, box.y), box.width, box.height, fill=False, color="white", lw=1.4)
        )
        if face.landmarks:
            # In sizes of the face, so that the points of a small one do not cover it.
            size = 9 * min(1.0, 3 * box.width / (right - left)) ** 2
            x, y = zip(*face.landmarks, strict=True)
            axes.scatter(x, y, s=size, color=POINT, edgecolors=INK, linewidths=0.3)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _window(boxes: "list[Box]", shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the faces and their surroundings, in pixels."""
    height, width = shape[:2]
    if not boxes:
        return 0, 0, width, height
    margin = SURROUNDINGS * max(max(box.width, box.height) for box in boxes)
    left = max(0, int(min(box.x for box in boxes) - margin))
    top = max(0, int(min(box.y for box in boxes) - margin))
    right = min(width, int(max(box.x + box.width for box in boxes) + margin) + 1)
    bottom = min(height, int(max(box.y + box.height for box in boxes) + margin) + 1)
    return left, top, right, bottom


def _draw_bars(axes: "Axes", face: "Face") -> None:
    """Draw a row for each unit or grade: its label, its bar, its probability."""
    rows = face_rows(face)
    axes.set_xlim(LABELS_X, 1.12)
    spare = max(0, MIN_ROWS - len(rows)) / 2
    axes.set_ylim(len(rows) + spare, -1.4 - spare)
    title = f"Palsy grade: {face.palsy.grade}" if face.palsy else "Action units"
    axes.text(LABELS_X, -1, title, fontsize=13, fontweight="bold", color=INK, va="center")
    for place, row in enumerate(rows):
        colour = INK if row.holds else DIM
        weight = "bold" if row.holds else "normal"
        words = {"va": "center", "fontsize": 9.5, "color": colour}
        axes.text(LABELS_X, place, row.label, fontweight=weight, **words)
        axes.text(NAMES_X, place, row.name, **words)
        axes.barh(place, 1, color=TRACK, height=0.56)
        axes.barh(place, row.probability, color=ACTIVE if row.holds else QUIET, height=0.56)
        if row.threshold is not None:
            axes.plot([row.threshold] * 2, [place - 0.36, place + 0.36], color=INK, lw=1.2)
        axes.text(1.03, place, f"{row.probability:.2f}", fontweight=weight, **words)
    if face.units:
        note = "the line is the threshold from which a unit counts as active"
        axes.text(0, len(rows) - 0.1, note, va="center", fontsize=8, color=DIM)
