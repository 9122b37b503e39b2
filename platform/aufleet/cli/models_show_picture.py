"""The picture of `aufleet models show`: what a network saw, where it looked, what it learned."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from aufleet.cli.models_show_answer import Answer, Relations
from aufleet.cli.models_show_face import ShownFace
from aufleet.cli.models_show_network import UNTRAINED, ShownNetwork
from aufleet.cli.plot import ACTIVE, DIM, INK, POINT
from aufleet.cli.predict import RESEARCH_USE
from aufleet.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

WARNING, FOUND = "#d9480f", "#ffa94d"
ATTENTION = ("#ffffff", "#3bc9db", "#0b7285")
ACTIVATION = ("#ffffff", "#ffd43b", "#e8590c", "#a61e4d")
CHANGE = ("#b3541e", "#f1b284", "#ffffff", "#66c2d0", "#0b5d6e")

# All lengths are inches.
DPI = 110
MARGIN, GAP = 0.32, 0.1
HEADER, FOOTER, TITLE, CAPTION = 0.78, 0.4, 0.4, 0.46
SIDE_WIDTH = 2.7
TILE = 1.52
MAX_COLUMNS = 6
MATRIX_CELLS = (0.125, 0.3)
"""The smallest and the largest cell of a relation matrix."""
LABELS_LEFT, LABELS_BELOW, MATRIX_TITLE = 0.5, 0.5, 0.22


def draw_picture(network: ShownNetwork, face: ShownFace, answer: Answer, *, out: Path) -> None:
    """Write the picture as a PNG.

    Raises:
        ConfigError: The file cannot be written.
    """
    blocks = _blocks(network, answer)
    page = _Page.for_blocks(blocks, answer, with_photo=face.photo is not None)
    _draw_words(page, network)
    _draw_side(page, face, answer)
    top = HEADER
    for block in blocks:
        top = _draw_block(page, block, answer.crop, top=top)
    if answer.relations is not None:
        _draw_relations(page, answer.relations, labels=_region_labels(network, answer))
    _save(page.figure, out)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layer:
    """A map in [0, 1] to be laid over the face."""

    values: "NDArray[np.float32]"
    colours: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tile:
    """Maps of one unit, grade or region below each other, with a caption."""

    label: str
    number: str = ""
    name: str
    holds: bool = True
    layers: tuple[_Layer, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Block:
    """Tiles in rows."""

    title: str
    note: str
    tiles: Sequence[_Tile]

    @property
    def columns(self) -> int:
        """Tiles in a row, as even as can be."""
        return ceil(len(self.tiles) / ceil(len(self.tiles) / MAX_COLUMNS))

    @property
    def row_height(self) -> float:
        layers = len(self.tiles[0].layers)
        return CAPTION + layers * TILE + (layers - 1) * GAP / 2 + 1.5 * GAP

    @property
    def height(self) -> float:
        return TITLE + ceil(len(self.tiles) / self.columns) * self.row_height + GAP


@dataclass(frozen=True, kw_only=True, eq=False)
class _Page:
    """A figure that is addressed from its top left corner."""

    width: float
    height: float
    relations_top: float = 0.0
    figure: "Figure" = field(init=False)

    def __post_init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width, self.height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        object.__setattr__(self, "figure", figure)

    @classmethod
    def for_blocks(cls, blocks: Sequence[_Block], answer: Answer, *, with_photo: bool) -> "_Page":
        """Return a page with room for everything."""
        columns = max(block.columns for block in blocks)
        width = 2 * MARGIN + SIDE_WIDTH + MARGIN + columns * (TILE + GAP)
        side = TITLE + (2 if with_photo else 1) * (SIDE_WIDTH + TITLE)
        body = max(sum(block.height for block in blocks), side)
        relations_top = HEADER + body + GAP
        height = relations_top
        if answer.relations is not None:
            height += _relations_height(answer.relations, width)
        return cls(width=width, height=height + FOOTER, relations_top=relations_top)

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


def _blocks(network: ShownNetwork, answer: Answer) -> list[_Block]:
    maps = tuple(_Layer(values=values, colours=ACTIVATION) for values in answer.activation)
    attention = None
    if answer.attention is not None:
        attention = tuple(_Layer(values=values, colours=ATTENTION) for values in answer.attention)
    if network.task == "au":
        layers = (
            [(one,) for one in maps] if attention is None else zip(attention, maps, strict=True)
        )
        title = "Class activation" if attention is None else "Attention and class activation"
        note = "" if attention is None else "above: attention; below: what speaks for the unit"
        tiles = [_answer_tile(network, answer, place, tuple(of)) for place, of in enumerate(layers)]
        return [_Block(title=title, note=note or "what speaks for the unit", tiles=tiles)]
    tiles = [_answer_tile(network, answer, place, (one,)) for place, one in enumerate(maps)]
    blocks = [_Block(title="Class activation", note="what speaks for the grade", tiles=tiles)]
    if attention is not None:
        names = _region_labels(network, answer)
        tiles = [
            _Tile(label=name, name="", layers=(one,))
            for name, one in zip(names, attention, strict=True)
        ]
        note = "left and right are the picture's"
        blocks.append(_Block(title="Attention to the regions", note=note, tiles=tiles))
    return blocks


def _answer_tile(
    network: ShownNetwork, answer: Answer, place: int, layers: tuple[_Layer, ...]
) -> _Tile:
    from aufleet.domain.action_units import NAMES, parse_unit

    label, holds = network.labels[place], bool(answer.active[place])
    if network.task == "au":
        name, said = NAMES[parse_unit(label)], "active" if holds else ""
    else:
        name, said = "", "most probable" if holds else ""
    number = f"{answer.probabilities[place]:.2f}"
    return _Tile(
        label=label,
        number=f"{number} {said}".strip(),
        name=name or "palsy grade",
        holds=holds,
        layers=layers,
    )


def _region_labels(network: ShownNetwork, answer: Answer) -> Sequence[str]:
    from aufleet.domain.palsy import REGION_NAMES

    if network.task == "au":
        return network.labels
    num = len(answer.attention) if answer.attention is not None else len(REGION_NAMES)
    if num == len(REGION_NAMES):
        return REGION_NAMES
    return [f"region {place}" for place in range(1, num + 1)]


def _draw_words(page: _Page, network: ShownNetwork) -> None:
    page.text(MARGIN, 0.24, network.title, fontsize=14, fontweight="bold")
    what = "action units" if network.task == "au" else "palsy grade"
    facts = [] if network.title == network.architecture else [network.architecture]
    words = "  ·  ".join([*facts, what, network.origin])
    page.text(MARGIN, 0.5, words, fontsize=9.5, color=DIM)
    if not network.trained:
        page.text(
            page.width - MARGIN,
            0.26,
            f"{UNTRAINED}: nothing here was learned",
            fontsize=11,
            fontweight="bold",
            color=WARNING,
            ha="right",
        )
    bottom = page.height - FOOTER + 0.16
    note = "each map has a scale of its own: the stronger the colour, the nearer to its maximum"
    page.text(MARGIN, bottom, note, fontsize=8, color=DIM)
    page.text(page.width - MARGIN, bottom, RESEARCH_USE, fontsize=8, color=DIM, ha="right")


def _draw_side(page: _Page, face: ShownFace, answer: Answer) -> None:
    """Draw the photo, and below it the crop with landmarks."""
    top = HEADER
    if face.photo is not None and face.outline is not None:
        page.text(MARGIN, top, "Input", fontsize=11, fontweight="bold")
        photo = page.axes(MARGIN, top + TITLE - 0.08, SIDE_WIDTH, SIDE_WIDTH)
        photo.imshow(face.photo, interpolation="antialiased")
        photo.set_anchor("NW")
        photo.autoscale(False)
        corners = [*face.outline, face.outline[0]]
        photo.plot([x for x, _ in corners], [y for _, y in corners], color="white", lw=1.3)
        top += TITLE + SIDE_WIDTH + 0.14
    page.text(MARGIN, top, "Landmarks", fontsize=11, fontweight="bold")
    crop = page.axes(MARGIN, top + TITLE - 0.08, SIDE_WIDTH, SIDE_WIDTH)
    crop.imshow(answer.crop, interpolation="bicubic")
    crop.autoscale(False)
    _scatter(crop, answer.found, colour=FOUND)
    _scatter(crop, answer.landmarks, colour=POINT)
    _name_points(page, answer, top=top + TITLE + SIDE_WIDTH)


def _scatter(axes: "Axes", points: "NDArray[np.float32] | None", *, colour: str) -> None:
    if points is not None:
        x, y = points.T
        axes.scatter(x, y, s=11, color=colour, edgecolors=INK, linewidths=0.4)


def _name_points(page: _Page, answer: Answer, *, top: float) -> None:
    """Write what the colours of the points mean, and what is missing."""
    left = MARGIN
    for points, words, colour in (
        (answer.landmarks, "predicted", POINT),
        (answer.found, "found", FOUND),
    ):
        if points is None:
            continue
        dot = page.axes(left, top - 0.04, 0.12, 0.12)
        dot.scatter([0], [0], s=22, color=colour, edgecolors=INK, linewidths=0.4)
        page.text(left + 0.17, top - 0.05, words, fontsize=8.5, color=DIM)
        left += 0.95
    if answer.landmarks is None:
        page.text(left, top - 0.05, "the network predicts none", fontsize=8.5, color=DIM)


def _draw_block(page: _Page, block: _Block, crop: "NDArray[np.uint8]", *, top: float) -> float:
    """Draw the tiles and return where the next block begins."""
    left = 2 * MARGIN + SIDE_WIDTH
    page.text(left, top, block.title, fontsize=11, fontweight="bold")
    page.text(
        page.width - MARGIN - GAP, top + 0.03, block.note, fontsize=8.5, color=DIM, ha="right"
    )
    for place, tile in enumerate(block.tiles):
        row, column = divmod(place, block.columns)
        _draw_tile(
            page,
            tile,
            crop,
            left=left + column * (TILE + GAP),
            top=top + TITLE - 0.08 + row * block.row_height,
        )
    return top + block.height


def _draw_tile(
    page: _Page, tile: _Tile, crop: "NDArray[np.uint8]", *, left: float, top: float
) -> None:
    colour, weight = (INK, "bold") if tile.holds else (DIM, "normal")
    page.text(left, top, tile.label, fontsize=9.5, color=colour, fontweight=weight)
    page.text(left + TILE, top + 0.01, tile.number, ha="right", color=ACTIVE if tile.holds else DIM)
    page.text(left, top + 0.19, tile.name, fontsize=8.5, color=colour)
    top += CAPTION - 0.06
    for layer in tile.layers:
        axes = page.axes(left, top, TILE, TILE)
        axes.imshow(_overlay(crop, layer), interpolation="antialiased")
        if not layer.values.max() > 0:
            middle = crop.shape[0] / 2
            axes.text(middle, middle, "nothing", ha="center", fontsize=8.5, color=INK)
        top += TILE + GAP / 2


def _overlay(crop: "NDArray[np.uint8]", layer: _Layer) -> "NDArray[np.float32]":
    """Return the grey face tinted by a map, (S, S, 3) in [0, 1]."""
    import cv2
    import numpy as np

    size = crop.shape[0]
    values = cv2.resize(layer.values, (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    grey = crop.mean(axis=2, keepdims=True) / 255
    face = 0.25 + 0.75 * grey
    colour = _colours(layer.colours)(np.clip(values[..., 0], 0, 1))[..., :3]
    # Multiplied, so that the features of the face stay visible below strong colour.
    tinted = colour * (0.45 + 0.55 * grey)
    strength = 0.85 * np.sqrt(np.clip(values, 0, 1))
    return np.clip((1 - strength) * face + strength * tinted, 0, 1)


def _colours(names: tuple[str, ...]) -> "Colormap":
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("", names)


@dataclass(frozen=True, kw_only=True)
class _Matrices:
    """How the relation matrices lie on a page: the prior, then two for each layer."""

    side: float
    per_line: int
    num: int

    @classmethod
    def for_width(cls, relations: Relations, width: float) -> "_Matrices":
        """Return one line of them where the cells stay large enough to read."""
        num, regions = 1 + 2 * len(relations.learned), len(relations.prior)
        smallest, largest = (cell * regions for cell in MATRIX_CELLS)
        room = width - 2 * MARGIN
        per_line = min(num, max(1, int((room + GAP) / (smallest + LABELS_LEFT + GAP))))
        fitting = (room + GAP) / per_line - LABELS_LEFT - GAP
        return cls(side=min(fitting, largest), per_line=per_line, num=num)

    @property
    def line_height(self) -> float:
        return MATRIX_TITLE + self.side + LABELS_BELOW

    @property
    def height(self) -> float:
        return TITLE + ceil(self.num / self.per_line) * self.line_height

    def place(self, number: int) -> tuple[float, float]:
        """Return left and top of a matrix without its words, from the corner of the first line."""
        row, column = divmod(number, self.per_line)
        left = LABELS_LEFT + column * (self.side + LABELS_LEFT + GAP)
        return left, MATRIX_TITLE + row * self.line_height


def _relations_height(relations: Relations, width: float) -> float:
    if not _largest(relations):
        return 2 * TITLE
    return _Matrices.for_width(relations, width).height


def _largest(relations: Relations) -> float:
    return max(float(abs(relations.prior).max()), float(abs(relations.learned).max()))


def _draw_relations(page: _Page, relations: Relations, *, labels: Sequence[str]) -> None:
    """Draw the prior, then each layer's matrix and what training changed."""
    top, largest = page.relations_top, _largest(relations)
    page.text(MARGIN, top, "Relations between regions", fontsize=11, fontweight="bold")
    top += TITLE - 0.08
    if not largest:
        words = "all are 0: the prior is counted from the training part of a data set"
        page.text(MARGIN, top, words, color=DIM)
        return
    note = "a row says how much its region takes from each of the others"
    page.text(page.width - MARGIN, top - TITLE + 0.11, note, fontsize=8.5, color=DIM, ha="right")
    changes = relations.learned - relations.prior
    largest_change = float(abs(changes).max())
    drawn = [("prior", relations.prior, largest)]
    for layer, (learned, change) in enumerate(zip(relations.learned, changes, strict=True), 1):
        drawn.append((f"layer {layer}", learned, largest))
        drawn.append((f"layer {layer} \N{MINUS SIGN} prior", change, largest_change))
    matrices = _Matrices.for_width(relations, page.width)
    for number, (title, values, limit) in enumerate(drawn):
        left, below = matrices.place(number)
        left, below = left + MARGIN, below + top
        axes = page.axes(left, below, matrices.side, matrices.side)
        _draw_matrix(axes, values, limit=limit, labels=labels)
        page.text(left, below - 0.2, title, fontsize=9)
        scale = f"\N{PLUS-MINUS SIGN} {limit:.2g}"
        page.text(left + matrices.side, below - 0.19, scale, fontsize=8.5, color=DIM, ha="right")


def _draw_matrix(
    axes: "Axes", values: "NDArray[np.float32]", *, limit: float, labels: Sequence[str]
) -> None:
    limit = limit or 1.0
    axes.set_axis_on()
    axes.imshow(values, cmap=_colours(CHANGE), vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7, color=DIM)
    axes.set_yticks(range(len(labels)), labels, fontsize=7, color=DIM)
    axes.tick_params(length=0, pad=2)
    for line in axes.spines.values():
        line.set_color("#dee2e6")


def _save(figure: "Figure", out: Path) -> None:
    """Write the file whole or not at all."""
    unfinished = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(unfinished, format="png")
        unfinished.replace(out)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise ConfigError(
            f"{out} cannot be written ({error.strerror})", "choose another --out"
        ) from None
