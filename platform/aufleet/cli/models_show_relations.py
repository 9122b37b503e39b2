"""MGRR-Net's relations between regions as matrices: before training, learned, and the change."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from aufleet.cli.models_show_answer import Relations
from aufleet.cli.models_show_page import GAP, MARGIN, TITLE, Page, colours_between
from aufleet.cli.plot import DIM

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

CHANGE = ("#b3541e", "#f1b284", "#ffffff", "#66c2d0", "#0b5d6e")
"""From the most negative value to the most positive."""
MATRIX_CELLS = (0.125, 0.3)
"""The smallest and the largest cell of a relation matrix."""
MATRIX_TITLE, MATRIX_GAP, LETTER = 0.22, 0.24, 0.058


@dataclass(frozen=True, kw_only=True)
class _Matrices:
    """How the relation matrices lie on a page: the prior, then two for each layer."""

    side: float
    labels: float
    """Length of the longest label; the first of a line has them on its left, all below."""
    per_line: int
    num: int

    @classmethod
    def for_width(cls, num: int, labels: Sequence[str], width: float) -> "_Matrices":
        """Return one line of them where the cells stay large enough to read."""
        longest = LETTER * max(map(len, labels)) + 0.08
        smallest, largest = (cell * len(labels) for cell in MATRIX_CELLS)
        room = width - 2 * MARGIN - longest + MATRIX_GAP
        per_line = min(num, max(1, int(room / (smallest + MATRIX_GAP))))
        side = min(room / per_line - MATRIX_GAP, largest)
        return cls(side=side, labels=longest, per_line=per_line, num=num)

    @property
    def line_height(self) -> float:
        return MATRIX_TITLE + self.side + self.labels + GAP

    @property
    def height(self) -> float:
        return TITLE + ceil(self.num / self.per_line) * self.line_height

    def place(self, number: int) -> tuple[float, float]:
        """Return left and top of a matrix without its words, from the corner of the first line."""
        row, column = divmod(number, self.per_line)
        left = self.labels + column * (self.side + MATRIX_GAP)
        return left, MATRIX_TITLE + row * self.line_height


def relations_height(relations: Relations, labels: Sequence[str], width: float) -> float:
    """Return how much of a page of a width they take, with their title."""
    if not _largest(relations):
        return 2 * TITLE
    return _Matrices.for_width(1 + 2 * len(relations.learned), labels, width).height


def _largest(relations: Relations) -> float:
    return max(float(abs(relations.prior).max()), float(abs(relations.learned).max()))


def draw_relations(page: Page, relations: Relations, *, labels: Sequence[str], top: float) -> None:
    """Draw the prior, then each layer's matrix and what training changed."""
    largest = _largest(relations)
    page.title(MARGIN, top, "Relations between regions")
    note = "a row says how much its region takes from each of the others"
    page.note(page.width - MARGIN, top, note)
    top += TITLE - 0.08
    if not largest:
        words = "all are 0: the prior is counted from the training part of a data set"
        page.text(MARGIN, top, words, color=DIM)
        return
    changes = relations.learned - relations.prior
    largest_change = float(abs(changes).max())
    drawn = [("prior", relations.prior, largest)]
    for layer, (learned, change) in enumerate(zip(relations.learned, changes, strict=True), 1):
        drawn.append((f"layer {layer}", learned, largest))
        drawn.append((f"layer {layer} \N{MINUS SIGN} prior", change, largest_change))
    matrices = _Matrices.for_width(len(drawn), labels, page.width)
    for number, (title, values, limit) in enumerate(drawn):
        left, below = matrices.place(number)
        left, below = left + MARGIN, below + top
        axes = page.axes(left, below, matrices.side, matrices.side)
        _draw_matrix(
            axes, values, limit=limit, labels=labels, first=left == MARGIN + matrices.labels
        )
        page.text(left, below - 0.2, title, fontsize=9)
        scale = f"\N{PLUS-MINUS SIGN} {limit:.2g}"
        page.text(left + matrices.side, below - 0.19, scale, fontsize=8.5, color=DIM, ha="right")


def _draw_matrix(
    axes: "Axes",
    values: "NDArray[np.float32]",
    *,
    limit: float,
    labels: Sequence[str],
    first: bool,
) -> None:
    limit = limit or 1.0
    axes.set_axis_on()
    axes.imshow(
        values, cmap=colours_between(CHANGE), vmin=-limit, vmax=limit, interpolation="nearest"
    )
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7, color=DIM)
    axes.set_yticks(range(len(labels)), labels if first else [""] * len(labels))
    axes.tick_params(axis="y", labelsize=7, labelcolor=DIM)
    axes.tick_params(length=0, pad=2)
    for line in axes.spines.values():
        line.set_color("#dee2e6")
