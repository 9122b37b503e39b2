"""A page to draw on, measured in inches from its top left corner, and its colours."""

from pathlib import Path
from typing import TYPE_CHECKING

from aufleet.cli.plot import DIM, INK
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

DPI = 110
MARGIN, GAP, TITLE = 0.32, 0.1, 0.4


class Page:
    """A white page."""

    def __init__(self, *, width: float, height: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> "Axes":
        """Return axes without lines."""
        bottom = self.height - top - height
        axes = self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )
        axes.set_axis_off()
        return axes

    def text(self, left: float, top: float, words: str, **style: object) -> None:
        """Write words whose upper left corner is given."""
        style = {"color": INK, "fontsize": 9, "va": "top"} | style
        self.figure.text(left / self.width, 1 - top / self.height, words, **style)  # pyright: ignore

    def title(self, left: float, top: float, words: str) -> None:
        """Write what a part of the page shows."""
        self.text(left, top, words, fontsize=11, fontweight="bold")

    def note(self, right: float, top: float, words: str) -> None:
        """Write what a reader must know, beside a title, up to its right end."""
        self.text(right, top + 0.03, words, fontsize=8.5, color=DIM, ha="right")

    def save(self, out: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            ConfigError: It cannot be written.
        """
        unfinished = out.with_name(f".{out.name}.part")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            self.figure.savefig(unfinished, format="png")
            unfinished.replace(out)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            reason = f"{out} cannot be written ({error.strerror})"
            raise ConfigError(reason, "choose another --out") from None


def colours_between(names: tuple[str, ...]) -> "Colormap":
    """Return the colours from 0 to 1 that run evenly through the named ones."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("", names)
