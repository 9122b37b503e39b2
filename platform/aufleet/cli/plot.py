"""The picture of an answer: box, the 49 landmarks, and a bar for each unit or grade."""

from pathlib import Path
from typing import TYPE_CHECKING

from aufleet.cli.predict import RESEARCH_USE, face_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aufleet.client import Face, FrameResult

ACTIVE, QUIET, INK = "#0b7285", "#ced4da", "#343a40"


def plot_answer(image: Path, result: "FrameResult", *, out: Path) -> None:
    """Draw the picture on the left and the largest face's probabilities on the right.

    Args:
        image: The picture that was sent.
        result: Its answer.
        out: The PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    photo, bars = figure.subplots(1, 2, width_ratios=[1.1, 1])
    _draw_photo(photo, image, result)
    if result.faces:
        _draw_bars(bars, result.faces[0])
    else:
        bars.text(0.5, 0.5, result.message or result.status, ha="center", wrap=True)
        bars.set_axis_off()
    figure.suptitle(
        f"{result.model} version {result.version}  ·  {RESEARCH_USE}", fontsize=9, color=INK
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def _draw_photo(axes: "Axes", image: Path, result: "FrameResult") -> None:
    from matplotlib.patches import Rectangle

    from aufleet.data.faces import decode_frame

    pixels = decode_frame(image.read_bytes())
    axes.imshow(pixels)
    axes.set_axis_off()
    for face in result.faces:
        box = face.box
        axes.add_patch(
            Rectangle((box.x, box.y), box.width, box.height, fill=False, color="white", lw=1.6)
        )
        axes.scatter(*zip(*face.landmarks, strict=True), s=7, color="#3bc9db", linewidths=0)


def _draw_bars(axes: "Axes", face: "Face") -> None:
    rows = face_rows(face)
    labels = [label for label, _, _ in rows]
    places = range(len(rows))
    axes.barh(
        places,
        [probability for _, probability, _ in rows],
        color=[ACTIVE if active else QUIET for _, _, active in rows],
        height=0.62,
    )
    for score, place in zip(face.units, places, strict=False):
        axes.plot([score.threshold] * 2, [place - 0.42, place + 0.42], color=INK, lw=1)
    axes.set_yticks(places, labels, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability" + (", threshold as a line" if face.units else ""), fontsize=9)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
